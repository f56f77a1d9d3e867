import { describe, expect, it } from 'vitest';
import type { FileAudit } from '../../../src/audit/file-audit.ts';
import { needsOf, withUnneeded } from '../../../src/audit/needs.ts';
import { remarksOf } from '../../../src/audit/remarks.ts';
import { conflictsOf } from '../../../src/audit/settings.ts';
import { auditText, fileLines } from '../../../src/audit/text.ts';
import { log, reportOf, tablespace } from '../../support/audits.ts';

const ON = {
  innodb_encrypt_tables: 'ON',
  innodb_encrypt_log: true,
  innodb_encrypt_temporary_tables: true,
  encrypt_binlog: true,
  aria_encrypt_tables: true,
} as const;

/** 5,000 files of every kind and state, and 300 versions of each of 3 keys, a few of which are needed. */
function manyFiles(): readonly FileAudit[] {
  return Array.from({ length: 5_000 }, (_, at) => {
    const name = `a_rather_long_name_of_a_schema_${at % 70}/and_a_rather_long_name_of_its_table_number_${at}.ibd`;
    if (at % 10 === 0) return tablespace(name, { clear: 9, more: { asked: 'no' } });
    if (at % 10 === 1) return tablespace(name, { clear: 9, more: { asked: 'yes' } });
    if (at % 10 === 2) return tablespace(name, { clear: 9 });
    if (at % 10 === 3) return log('binary log', `binlog.${at}`, (at % 300) + 1);
    const versions = [{ version: (at * 7) % 300, used: 12_345_678, free: 345_678 }];
    return tablespace(name, { used: 12_345_678, clearFree: at % 2, more: { keyId: 1 + (at % 3), versions } });
  });
}

function expectScreen(lines: readonly string[]): void {
  expect(lines.length).toBeLessThanOrEqual(23);
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
}

describe('a summary', () => {
  it('of 5,000 files and 900 key versions fits a screen of 24 lines and 80 columns', () => {
    const files = manyFiles();
    const stored = Array.from({ length: 900 }, (_, at) => ({ id: 1 + (at % 3), version: 1 + Math.floor(at / 3) }));
    const needs = withUnneeded(needsOf(files), stored);
    const conflicts = conflictsOf(files, ON);
    const requirements = Array.from({ length: 5 }, (_, at) => ({
      requirement: `--require-version 1.${at}`,
      isMet: false,
      files: files.map(({ file }) => file),
    }));
    const unseen = files.slice(0, 99).map(({ file }) => ({ path: file, reason: 'EACCES' }));
    const remarks = remarksOf(files, conflicts, needs, '/var/lib/mariadb-aws-kms');
    const report = reportOf(files, { needs, conflicts, requirements, unseen, remarks });
    const elsewhere = auditText(report);
    for (const line of [...remarks, ...requirements.map(({ requirement }) => requirement)])
      expect(elsewhere.some((each) => each.startsWith(`  ${line}`))).toBe(true);
    const lines = auditText(report, 80);
    expectScreen(lines);
    expect(lines.join('\n')).toMatch(/ more key versions: --json has all\n/);
    expect(lines.join('\n')).toContain('INCOMPLETE: ');
    expect(lines.join('\n')).toMatch(/^ {2}NOT READ +99 places +a_rather/m);
  });

  it('joins neighbouring versions that nothing needs', () => {
    const stored = Array.from({ length: 300 }, (_, at) => ({ id: 1, version: at + 1 }));
    const files = [tablespace('d/t.ibd', { used: 3, more: { versions: [{ version: 300, used: 3, free: 0 }] } })];
    const lines = auditText(reportOf(files, { needs: withUnneeded(needsOf(files), stored) }));
    expect(lines).toContain('  1.1-1.299  nothing found here');
    expect(lines.find((line) => line.startsWith('  1.300 '))).toMatch(/^ {2}1\.300 +- +3 in 1 file +- +-$/);
  });

  it('says what was not looked at, and claims nothing of keys when something was not read', () => {
    expect(auditText(reportOf([tablespace('d/t.ibd', { clear: 1 })]))).toContain('  nothing needs a key version');
    const unseen = [{ path: 'd/t.ibd', reason: 'EACCES' }];
    const lines = auditText(reportOf([], { unseen })).join('\n');
    expect(lines).toContain('nothing that was read needs a key version');
    expect(lines).toMatch(/NOT READ +1 place +d\/t\.ibd: EACCES\n/);
    expect(lines).toContain('Not looked at: backups, replicas.\nThey may need');
  });

  it('of nothing asks whether the directory is mounted', () => {
    expect(auditText(reportOf([])).join('\n')).toContain('nothing that a server encrypts is there: is it mounted?');
  });

  it('is wider on a wider terminal, and shows no control character of a file name', () => {
    const name = `d/${'t'.repeat(90)}\u001b[2J.ibd`;
    const report = reportOf([tablespace(name, { clear: 1 })]);
    expect(auditText(report).join('\n')).not.toContain('[2J.ibd');
    expect(auditText(report, 200).join('\n')).toContain('t [2J.ibd');
  });
});

it('a line for a file says its state, its key versions, and what its table asks for', () => {
  const files = [
    tablespace('d/t.ibd', { used: 1_000, free: 2, more: { asked: 'yes' } }),
    tablespace('d/no.ibd', { clear: 1, more: { asked: 'no' } }),
    log('binary log', 'binlog.000001', 2),
  ];
  const unseen = [{ path: 'd/u.ibd', reason: 'EACCES' }];
  expect(fileLines({ files, unseen })).toEqual([
    'd/t.ibd: tablespace, encrypted, 1.1 (1,000 pages and 2 free), ENCRYPTED=YES',
    'd/no.ibd: tablespace, in clear, 1 page in clear, ENCRYPTED=NO',
    'binlog.000001: binary log, encrypted, 1.2',
    'd/u.ibd: NOT READ: EACCES',
  ]);
});
