import { expect, it } from 'vitest';
import { tableOf, tablesOf } from '../../../src/audit/tables.ts';
import { log, tablespace } from '../../support/audits.ts';

it.each([
  ['shop/customers.ibd', 'shop.customers'],
  ['shop/orders#P#p2029.ibd', 'shop.orders'],
  ['shop/orders#p#p2030#sp#s1.ibd', 'shop.orders'],
  ['shop/two@0020words.ibd', 'shop.two words'],
  ['my@002dshop/t.ibd', 'my-shop.t'],
  ['/elsewhere/shop/customers.ibd', 'shop.customers'],
  ['shop/FTS_0000000000000123_CONFIG.ibd', 'shop: full-text indexes'],
  ['shop/FTS_0000000000000123_00000000000001a5_INDEX_1.ibd', 'shop: full-text indexes'],
  ['customers.ibd', 'customers'],
  // Letters of other alphabets have codes of their own, which stay.
  ['shop/@1e@0g.ibd', 'shop.@1e@0g'],
])('the file %s is of %s', (file, table) => {
  expect(tableOf({ file, kind: 'tablespace' })).toBe(table);
});

it('a table of Aria has the name of its index file', () => {
  expect(tableOf({ file: 'mysql/proc.MAI', kind: 'Aria table' })).toBe('mysql.proc');
});

it('files of no table are together by their kind', () => {
  const files = [log('binary log', 'b.000001', 1), log('binary log', 'b.000002', undefined)];
  expect(tablesOf(files)).toEqual([
    { name: 'binary log', files: 2, shares: { encrypted: 1_000, clear: 1_000, free: 0, other: 0 } },
  ]);
});

it('partitions are one table, and the largest table is first', () => {
  const files = [
    tablespace('d/small.ibd', { used: 3 }),
    tablespace('d/p#P#p0.ibd', { used: 2 }),
    tablespace('d/p#P#p1.ibd', { clear: 2 }),
  ];
  expect(tablesOf(files).map(({ name, files: count }) => [name, count])).toEqual([
    ['d.p', 2],
    ['d.small', 1],
  ]);
});
