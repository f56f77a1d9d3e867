import { expect, it } from 'vitest';
import { auditMetrics } from '../../../src/audit/prometheus.ts';
import { log, reportOf, tablespace } from '../../support/audits.ts';

const PREFIX = 'mariadb_aws_kms_audit_';

/** Samples by their name and labels, without the data directory, which all have. */
function samplesOf(metrics: string): ReadonlyMap<string, number> {
  const samples = new Map<string, number>();
  for (const line of metrics.split('\n').filter((each) => each !== '' && !each.startsWith('#'))) {
    const [, name = '', labels = '', value = ''] =
      /^mariadb_aws_kms_audit_(\w+)\{datadir="\/var\/lib\/mysql",?([^}]*)\} ([\d.]+)$/.exec(line) ?? [];
    expect(name, line).not.toBe('');
    const sample = labels === '' ? name : `${name} ${labels}`;
    expect(samples.has(sample), line).toBe(false);
    samples.set(sample, Number(value));
  }
  return samples;
}

const FILES = [
  tablespace('d/t.ibd', { used: 2, free: 1 }),
  tablespace('d/u.ibd', { clear: 3, clearFree: 4 }),
  log('redo log', 'ib_logfile0', 1),
];

it('files and bytes are counted by kind and state, with the states that no file has', () => {
  const samples = samplesOf(auditMetrics(reportOf(FILES)));
  expect(Object.fromEntries([...samples].filter(([name]) => name.startsWith('file')))).toEqual({
    'files kind="tablespace",state="encrypted"': 1,
    'files kind="tablespace",state="partly"': 0,
    'files kind="tablespace",state="clear"': 1,
    'files kind="tablespace",state="empty"': 0,
    'files kind="redo_log",state="encrypted"': 1,
    'files kind="redo_log",state="partly"': 0,
    'files kind="redo_log",state="clear"': 0,
    'files kind="redo_log",state="empty"': 0,
    'file_bytes kind="tablespace",state="encrypted"': 65_536,
    'file_bytes kind="tablespace",state="partly"': 0,
    'file_bytes kind="tablespace",state="clear"': 131_072,
    'file_bytes kind="tablespace",state="empty"': 0,
    'file_bytes kind="redo_log",state="encrypted"': 1_000,
    'file_bytes kind="redo_log",state="partly"': 0,
    'file_bytes kind="redo_log",state="clear"': 0,
    'file_bytes kind="redo_log",state="empty"': 0,
  });
});

it('key versions have what needs them, and those that nothing needs are counted', () => {
  const needs = [...reportOf(FILES).needs, { id: 7, version: 1, needs: {} }, { id: 7, version: 2, needs: {} }];
  const samples = samplesOf(auditMetrics(reportOf(FILES, { needs })));
  expect(Object.fromEntries([...samples].filter(([name]) => name.startsWith('key_version')))).toEqual({
    'key_versions key_id="1",needed="true"': 1,
    'key_versions key_id="1",needed="false"': 0,
    'key_versions key_id="7",needed="true"': 0,
    'key_versions key_id="7",needed="false"': 2,
    'key_version_files key_id="1",key_version="1",class="start"': 1,
    'key_version_files key_id="1",key_version="1",class="read"': 1,
    'key_version_files key_id="1",key_version="1",class="import"': 1,
    'key_version_pages key_id="1",key_version="1",class="start"': 0,
    'key_version_pages key_id="1",key_version="1",class="read"': 2,
    'key_version_pages key_id="1",key_version="1",class="import"': 1,
  });
});

it('the rest of the audit is there: pages in clear, gaps, requirements, release, and time', () => {
  const requirements = [
    { requirement: '--require-encrypted', isMet: false, files: ['d/u.ibd'] },
    { requirement: '--require-version 5.3', isMet: true, files: [] },
  ];
  const unseen = [{ path: 'd/x.ibd', reason: 'EACCES' }];
  const samples = samplesOf(auditMetrics(reportOf(FILES, { requirements, unseen })));
  expect(Object.fromEntries([...samples].filter(([name]) => !/^(?:file|key_version)/.test(name)))).toEqual({
    'info release="1.2.3"': 1,
    'clear_pages use="used"': 3,
    'clear_pages use="free"': 4,
    unreadable_pages: 0,
    unseen_paths: 1,
    'requirement_met requirement="--require-encrypted"': 0,
    'requirement_met requirement="--require-version 5.3"': 1,
    complete: 0,
    duration_seconds: 1.5,
    timestamp_seconds: Date.UTC(2030, 0, 2, 3, 4, 5) / 1000,
  });
});

it('every metric has one HELP and one TYPE line before its samples', () => {
  const lines = auditMetrics(reportOf(FILES)).split('\n');
  expect(lines.pop()).toBe('');
  let name = '';
  const seen = new Set<string>();
  for (const line of lines) {
    const [, help] = /^# HELP (\w+) \S/.exec(line) ?? [];
    if (help !== undefined) {
      expect(seen.has(help)).toBe(false);
      seen.add(help);
      name = help;
    } else if (line.startsWith('#')) expect(line).toBe(`# TYPE ${name} gauge`);
    else expect(line.startsWith(`${name}{`)).toBe(true);
  }
  expect([...seen].every((each) => each.startsWith(PREFIX))).toBe(true);
});

it('a label cannot end its value or its line', () => {
  const lines = auditMetrics(reportOf([], { where: '/a"b\\c\n{d}', release: '1' })).split('\n');
  expect(lines).toContain(`${PREFIX}info{datadir="/a\\"b\\\\c {d}",release="1"} 1`);
});

it('no label names a file', () => {
  expect(auditMetrics(reportOf(FILES, { unseen: [{ path: 'd/x.ibd', reason: 'EACCES' }] }))).not.toMatch(/ibd|logfile/);
});
