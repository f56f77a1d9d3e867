import { expect, it } from 'vitest';
import type { FileAudit } from '../../../src/audit/file-audit.ts';
import { needsOf, withUnneeded } from '../../../src/audit/needs.ts';

function fileOf(file: string, kind: FileAudit['kind'], used: number, free: number): FileAudit {
  const versions = [{ version: 4, used, free }];
  return { file, kind, bytes: 0, state: 'encrypted', keyId: 1, asked: undefined, versions, pages: undefined };
}

it.each<readonly [string, FileAudit['kind'], Readonly<Record<string, number>>]>([
  ['ib_logfile0', 'redo log', { start: 0 }],
  ['binlog.000001', 'binary log', { logs: 0 }],
  ['d/t.ibd', 'tablespace', { read: 3, import: 2 }],
  ['mysql/innodb_table_stats.ibd', 'tablespace', { read: 3, import: 2 }],
  ['ibdata1', 'system tablespace', { start: 3 }],
  ['undo001', 'undo tablespace', { start: 3 }],
  ['d/t.MAI', 'Aria table', { read: 3 }],
  ['mysql/db.MAI', 'Aria table', { read: 3 }],
  ['mysql/global_priv.MAI', 'Aria table', { start: 3 }],
  ['mysql/time_zone_leap_second.MAI', 'Aria table', { start: 3 }],
])('%s, a %s with 3 pages in use and 2 free ones, needs its key version for %o', (file, kind, expected) => {
  const [key] = needsOf([fileOf(file, kind, 3, 2)]);
  expect(key).toMatchObject({ id: 1, version: 4 });
  expect(Object.fromEntries(Object.entries(key?.needs ?? {}).map(([need, { pages }]) => [need, pages]))).toEqual(
    expected,
  );
});

it('a key version that only free pages of undo tablespaces have is needed by nothing', () => {
  expect(needsOf([fileOf('undo001', 'undo tablespace', 0, 2)])).toEqual([]);
});

it('a table without which nobody gets in is told by its directory, however its name is written', () => {
  const file = fileOf('global_priv.MAI', 'Aria table', 3, 0);
  expect(needsOf([{ ...file, path: '/backup/mysql/global_priv.MAI' }])[0]?.needs).toHaveProperty('start');
  expect(needsOf([{ ...file, path: '/backup/d/global_priv.MAI' }])[0]?.needs).toHaveProperty('read');
});

it('damaged files that name many key ids and high versions make no longer list than one', () => {
  const versions = [{ version: 0xffffffff, used: 1, free: 0 }];
  const files = Array.from({ length: 50 }, (_, at) => ({
    ...fileOf(`d/t${at}.ibd`, 'tablespace', 1, 0),
    keyId: at + 1,
    versions,
  }));
  expect(withUnneeded(needsOf(files.slice(0, 1)))).toHaveLength(10_001);
  expect(withUnneeded(needsOf(files))).toHaveLength(10_050);
});
