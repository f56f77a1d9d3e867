import fc from 'fast-check';
import { expect, it } from 'vitest';
import { needsOf } from '../../../src/audit/needs.ts';
import { addShares, neededBytes, sharesOf, sharesSum } from '../../../src/audit/shares.ts';
import { log, tablespace } from '../../support/audits.ts';

const PAGE = 16_384;

it('the bytes of a tablespace are those of its pages, by what the pages hold', () => {
  const file = tablespace('d/t.ibd', { used: 2, free: 3, clear: 4, clearFree: 5, empty: 6 });
  expect(sharesOf(file)).toEqual({ encrypted: 2 * PAGE, clear: 4 * PAGE, free: 8 * PAGE, other: 7 * PAGE });
});

it('pages that are encrypted without naming a version are encrypted', () => {
  const file = tablespace('ibtmp1', { used: 1, empty: 2 });
  const pages = file.pages && { ...file.pages, unnamed: 2 };
  expect(sharesOf({ ...file, pages })).toMatchObject({ encrypted: 3 * PAGE, other: PAGE });
});

it('a log is encrypted or in clear as a whole', () => {
  expect(sharesOf(log('redo log', 'ib_logfile0', 1))).toMatchObject({ encrypted: 1_000, clear: 0 });
  expect(sharesOf(log('binary log', 'b.000001', undefined))).toMatchObject({ encrypted: 0, clear: 1_000 });
});

it('an Aria table whose rows are in no pages is in clear as a whole', () => {
  const file = tablespace('d/fixed.MAI', { clear: 1, more: { kind: 'Aria table' } });
  const pages = file.pages && { ...file.pages, neverEncrypted: 0 };
  expect(sharesOf({ ...file, pages })).toEqual({ encrypted: 0, clear: 2 * PAGE, free: 0, other: 0 });
});

it('the shares of every file add up to its length', () => {
  const count = fc.nat(1_000);
  fc.assert(
    fc.property(count, count, count, count, count, (used, free, clear, clearFree, empty) => {
      const file = tablespace('d/t.ibd', { used, free, clear, clearFree, empty });
      expect(sharesSum(sharesOf(file))).toBeCloseTo(file.bytes, 3);
    }),
  );
});

it('shares are added one by one', () => {
  const one = { encrypted: 1, clear: 2, free: 3, other: 4 };
  expect(addShares(one, { encrypted: 10, clear: 20, free: 30, other: 40 })).toEqual({
    encrypted: 11,
    clear: 22,
    free: 33,
    other: 44,
  });
});

it('a key version is needed for pages in use, for free ones, and for whole logs', () => {
  const files = [
    tablespace('d/t.ibd', { used: 2, free: 3 }),
    tablespace('d/u.ibd', { used: 1 }),
    log('redo log', 'ib_logfile0', 1),
    log('binary log', 'b.000001', 1),
  ];
  const [of] = needsOf(files);
  if (of === undefined) throw new Error('no key version is needed');
  const byName = new Map(files.map((file) => [file.file, file]));
  expect((['start', 'read', 'import', 'logs'] as const).map((need) => neededBytes(byName, of, need))).toEqual([
    1_000,
    3 * PAGE,
    3 * PAGE,
    1_000,
  ]);
});
