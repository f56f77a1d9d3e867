import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { FileAudit } from '../../../src/audit/file-audit.ts';
import { auditJson } from '../../../src/audit/json.ts';
import { auditMetrics } from '../../../src/audit/prometheus.ts';
import { log, reportOf, tablespace } from '../../support/audits.ts';
import { schemaErrors } from '../../support/json-schema.ts';

const DOCUMENTS = join(import.meta.dirname, '../../../docs');
const PAGE = readFileSync(join(DOCUMENTS, 'audit.md'), 'utf8');
const SCHEMA: unknown = JSON.parse(readFileSync(join(DOCUMENTS, 'audit.schema.json'), 'utf8'));

/** An audit that has every member of its JSON. */
function full(): ReturnType<typeof reportOf> {
  const files = [
    tablespace('d/t.ibd', { used: 2, free: 1, clear: 1, more: { asked: 'yes' } }),
    { ...log('redo log', 'ib_logfile0', 1), needsRecovery: true },
    log('binary log', 'binlog.000001', 1),
  ];
  const needs = reportOf(files).needs.map((of) => ({ ...of, isStored: true }));
  return reportOf(files, {
    needs,
    keyDirectory: '/var/lib/mariadb-aws-kms',
    requirements: [{ requirement: '--require-encrypted', isMet: false, files: ['d/t.ibd'] }],
    conflicts: [{ file: 'd/t.ibd', asked: 'ENCRYPTED=YES', isEncrypted: false }],
    remarks: ['a remark'],
    unseen: [{ path: 'd/u.ibd', reason: 'EACCES' }],
  });
}

/** The names of all members of a JSON value. */
function membersOf(value: unknown): readonly string[] {
  if (Array.isArray(value)) return value.flatMap(membersOf);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) => [name, ...membersOf(member)]);
}

it('the schema has every member of the JSON, and the page names each', () => {
  const json: unknown = JSON.parse(auditJson(full()));
  expect(schemaErrors(Object(SCHEMA), json)).toEqual([]);
  const [, table = ''] = PAGE.split('\n## JSON\n');
  expect([...new Set(membersOf(json))].filter((name) => !table.includes(`\`${name}\``))).toEqual([]);
});

it('the schema has every kind of file', () => {
  const kinds: Readonly<Record<FileAudit['kind'], true>> = {
    tablespace: true,
    'system tablespace': true,
    'undo tablespace': true,
    'temporary tablespace': true,
    'Aria table': true,
    'temporary Aria table': true,
    'redo log': true,
    'redo log of a backup': true,
    'archived redo log': true,
    'binary log': true,
    'relay log': true,
  };
  const files = full().files.flatMap((file) =>
    Object.keys(kinds).map((kind): FileAudit => Object.assign({}, file, { kind })),
  );
  expect(schemaErrors(Object(SCHEMA), JSON.parse(auditJson(reportOf(files))))).toEqual([]);
});

it('a member that the schema lacks, or that has another type, is noticed', () => {
  const json = { ...JSON.parse(auditJson(full())), more: 1, ok: 'yes' };
  expect([...schemaErrors(Object(SCHEMA), json)].sort()).toEqual(['$.ok: no boolean', '$: more is unknown']);
});

it('the page lists the metrics that there are', () => {
  const metrics = [...auditMetrics(full()).matchAll(/^# TYPE mariadb_aws_kms_audit_(\w+) /gm)].map(
    ([, name = '']) => name,
  );
  const [, table = ''] = PAGE.split('| metric, after `mariadb_aws_kms_audit_` |');
  const named = [...(table.split('\n\n')[0] ?? '').matchAll(/^\| (`[^|]*) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name),
  );
  expect(named.sort()).toEqual(metrics.sort());
});
