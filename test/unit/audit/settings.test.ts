import { expect, it } from 'vitest';
import type { FileAudit } from '../../../src/audit/file-audit.ts';
import { needsOf, withUnneeded } from '../../../src/audit/needs.ts';
import { remarksOf } from '../../../src/audit/remarks.ts';
import { conflictsOf } from '../../../src/audit/settings.ts';
import type { EncryptionSettings } from '../../../src/data/encryption-settings.ts';
import { encryptionSettings } from '../../../src/server/encryption-settings.ts';
import { parseOptionLines, ServerOptions } from '../../../src/server/server-options.ts';
import { log, tablespace } from '../../support/audits.ts';

const OFF: EncryptionSettings = encryptionSettings(new ServerOptions([]));
const ON = settings('--innodb-encrypt-tables --innodb-encrypt-log --encrypt-binlog=ON --aria_encrypt_tables=1');

function settings(options: string): EncryptionSettings {
  return encryptionSettings(new ServerOptions(parseOptionLines(options.replaceAll(' ', '\n'), [])));
}

function aria(state: FileAudit['state'], bitmaps: number): FileAudit {
  const file = tablespace('d/a.MAI', state === 'encrypted' ? { used: 1 } : { clear: 1 });
  const { pages } = file;
  if (pages === undefined) throw new Error('no pages');
  return { ...file, kind: 'Aria table', pages: { ...pages, neverEncrypted: bitmaps } };
}

function spatial(more: Partial<FileAudit> = {}): FileAudit {
  const file = tablespace('d/geo.ibd', { used: 3, clear: 2, more });
  const { pages } = file;
  if (pages === undefined) throw new Error('no pages');
  return { ...file, pages: { ...pages, spatial: 2 } };
}

const CLEAR = tablespace('d/t.ibd', { clear: 1 });
const PARTLY = tablespace('d/t.ibd', { used: 1, clear: 1 });
const ENCRYPTED = tablespace('d/t.ibd', { used: 1 });
const FORCE = settings('--innodb-encrypt-tables=FORCE');
const asked = (file: FileAudit, value: 'yes' | 'no'): FileAudit => ({ ...file, asked: value });

it.each<readonly [string, FileAudit, EncryptionSettings | undefined, string | undefined]>([
  ['a table in clear, as it should be encrypted', CLEAR, ON, 'innodb_encrypt_tables=ON, and in clear'],
  ['a table partly in clear', PARTLY, ON, 'innodb_encrypt_tables=ON, and in clear'],
  ['an encrypted table', ENCRYPTED, ON, undefined],
  ['an encrypted table that should not be', ENCRYPTED, OFF, 'innodb_encrypt_tables=OFF, and encrypted'],
  ['a table without data', tablespace('d/t.ibd', { empty: 3 }), ON, undefined],
  ['a table of unknown settings', CLEAR, undefined, undefined],
  ['ENCRYPTED=YES of unknown settings', asked(CLEAR, 'yes'), undefined, 'ENCRYPTED=YES, and in clear'],
  ['ENCRYPTED=YES where tables are not encrypted', asked(ENCRYPTED, 'yes'), OFF, undefined],
  ['ENCRYPTED=NO, the choice of the table', asked(CLEAR, 'no'), ON, undefined],
  ['ENCRYPTED=NO under FORCE', asked(CLEAR, 'no'), FORCE, 'innodb_encrypt_tables=FORCE, and in clear'],
  ['ENCRYPTED=NO and encrypted', asked(ENCRYPTED, 'no'), undefined, 'ENCRYPTED=NO, and encrypted'],
  ['SPATIAL pages with older checksums', spatial(), ON, undefined],
  ['SPATIAL pages of ENCRYPTED=YES', spatial({ asked: 'yes' }), ON, undefined],
  ['a redo log in clear', log('redo log', 'ib_logfile0', undefined), ON, 'innodb_encrypt_log=ON, and in clear'],
  ['an encrypted redo log', log('redo log', 'ib_logfile0', 1), OFF, 'innodb_encrypt_log=OFF, and encrypted'],
  ['a binary log in clear', log('binary log', 'binlog.1', undefined), ON, 'encrypt_binlog=ON, and in clear'],
  ['an Aria table in clear', aria('clear', 1), ON, 'aria_encrypt_tables=ON, and in clear'],
  ['an Aria table of FIXED rows', aria('clear', 0), ON, undefined],
  ['an encrypted Aria table', aria('encrypted', 1), OFF, 'aria_encrypt_tables=OFF, and encrypted'],
  ['a value that the server refuses', CLEAR, settings('--innodb-encrypt-tables=MAYBE'), undefined],
  ['a temporary tablespace', { ...CLEAR, kind: 'temporary tablespace' }, OFF, undefined],
])('%s is compared with the settings', (_, file, known, expected) => {
  const found = conflictsOf([file], known).map(
    (each) => `${each.asked}, and ${each.isEncrypted ? 'encrypted' : 'in clear'}`,
  );
  expect(found).toEqual(expected === undefined ? [] : [expected]);
});

it('remarks name missing key files, contradictions, and why files are in clear', () => {
  const files = [
    { ...ENCRYPTED, file: 'd/e.ibd' },
    ...['a', 'b', 'c'].map((name) => ({ ...CLEAR, file: `d/${name}.ibd` })),
    asked({ ...CLEAR, file: 'd/no.ibd' }, 'no'),
    aria('clear', 0),
    { ...aria('encrypted', 1), file: 'd/rows.MAI' },
    spatial(),
    tablespace('d/f.ibd', { used: 1, clearFree: 4 }),
  ];
  const needs = withUnneeded(needsOf(files), [{ id: 1, version: 2 }]);
  expect(remarksOf(files, conflictsOf(files, ON), needs, '/keys')).toEqual([
    'no key file in /keys: 1.1',
    'innodb_encrypt_tables=ON, and in clear or partly so: d/a.ibd, d/b.ibd and 1 more file',
    'ENCRYPTED=NO, and so in clear: d/no.ibd',
    'Aria encrypts no ROW_FORMAT=FIXED or DYNAMIC: d/a.MAI',
    "rows also in Aria's log (aria_log.*), which no server encrypts: d/rows.MAI",
    'SPATIAL indexes stay in clear with older checksums: d/geo.ibd',
    '4 free pages in clear, which may hold old rows, in encrypted files: d/f.ibd',
  ]);
});

it('a key directory of any name stands in one line of a remark', () => {
  const needs = withUnneeded(needsOf([tablespace('d/t.ibd', { used: 1 })]), []);
  expect(remarksOf([], [], needs, '/keys\n\u001b[2J')).toEqual(['no key file in /keys [2J: 1.1']);
});
