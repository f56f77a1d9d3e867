import { expect, it } from 'vitest';
import { needsOf, withUnneeded } from '../../../src/audit/needs.ts';
import { isComplete } from '../../../src/audit/report.ts';
import {
  checksumRequirement,
  encryptedRequirement,
  parseVersionRequirement,
  versionRequirement,
} from '../../../src/audit/requirements.ts';
import { log, tablespace } from '../../support/audits.ts';

const at = (version: number, used: number, free = 0) => ({ versions: [{ version, used, free }] });

it.each([
  ['3', { id: undefined, version: 3 }],
  ['5.3', { id: 5, version: 3 }],
  ['4294967295.4294967295', { id: 4_294_967_295, version: 4_294_967_295 }],
  ['0', undefined],
  ['0.1', undefined],
  ['1.', undefined],
  ['1.2.3', undefined],
  ['-1', undefined],
  ['4294967296', undefined],
  ['', undefined],
])('--require-version %j is understood as %o', (text, expected) => {
  expect(parseVersionRequirement(text)).toEqual(expected);
});

it('no file may need a lower version to start, to read or for logs; free pages do not count', () => {
  const files = [
    log('redo log', 'ib_logfile0', 1),
    log('binary log', 'binlog.000001', 2),
    tablespace('d/t.ibd', { used: 1, more: { keyId: 5, ...at(2, 1) } }),
    tablespace('d/freed.ibd', { used: 1, more: { keyId: 5, ...at(1, 0, 9) } }),
  ];
  const needs = needsOf(files);
  const short = (id: number | undefined, version: number): readonly string[] =>
    versionRequirement(needs, { id, version }).files;
  expect(short(undefined, 1)).toEqual([]);
  expect(short(undefined, 2)).toEqual(['ib_logfile0']);
  expect(short(undefined, 3)).toEqual(['ib_logfile0', 'binlog.000001', 'd/t.ibd']);
  expect(short(5, 3)).toEqual(['d/t.ibd']);
  expect(short(5, 2)).toEqual([]);
  expect(versionRequirement(needs, { id: 5, version: 3 })).toMatchObject({
    requirement: '--require-version 5.3',
    isMet: false,
  });
});

it('no file may be in clear or partly so, or have a damaged page', () => {
  const damaged = tablespace('d/x.ibd', { used: 1 });
  const { pages } = damaged;
  if (pages === undefined) throw new Error('no pages');
  const files = [
    tablespace('d/a.ibd', { used: 1 }),
    tablespace('d/b.ibd', { used: 1, clear: 1 }),
    tablespace('d/c.ibd', { clear: 1 }),
    tablespace('d/e.ibd', { empty: 1 }),
    { ...damaged, pages: { ...pages, strange: [3], strangePages: 1 } },
  ];
  expect(encryptedRequirement({ files, unseen: [] })).toEqual({
    requirement: '--require-encrypted',
    isMet: false,
    files: ['d/b.ibd', 'd/c.ibd'],
  });
  expect(checksumRequirement({ files, unseen: [] })).toMatchObject({ isMet: false, files: ['d/x.ibd'] });
  expect(encryptedRequirement({ files: files.slice(0, 1), unseen: [] })).toMatchObject({ isMet: true, files: [] });
});

it('an audit that read nothing, or not all, is not complete', () => {
  const files = [tablespace('d/a.ibd', { used: 1 })];
  expect(isComplete({ files, unseen: [] })).toBe(true);
  expect(isComplete({ files: [], unseen: [] })).toBe(false);
  expect(isComplete({ files, unseen: [{ path: 'd/b.ibd', reason: 'EACCES' }] })).toBe(false);
});

it('versions that nothing needs are those of the key directory, or all below the highest that is needed', () => {
  const needs = needsOf([tablespace('d/t.ibd', { used: 1, more: { keyId: 5, ...at(3, 1) } })]);
  const shown = (stored?: readonly { id: number; version: number }[]): readonly string[] =>
    withUnneeded(needs, stored).map(({ id, version, isStored }) => `${id}.${version} ${isStored}`);
  expect(shown()).toEqual(['5.1 undefined', '5.2 undefined', '5.3 undefined']);
  expect(shown([])).toEqual(['5.3 false']);
  expect(
    shown([
      { id: 5, version: 3 },
      { id: 2, version: 1 },
    ]),
  ).toEqual(['2.1 true', '5.3 true']);
});

it('of a damaged file that names a huge version, not every version below is listed', () => {
  const needs = needsOf([tablespace('d/t.ibd', { used: 1, more: { keyId: 5, ...at(4_000_000_000, 1) } })]);
  expect(withUnneeded(needs)).toHaveLength(10_001);
});
