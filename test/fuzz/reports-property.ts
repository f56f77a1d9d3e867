/** Whatever a directory holds, the reports of its audit are well-formed and tell all of its files. */
import { join } from 'node:path';
import fc from 'fast-check';
import { type Audit, auditData } from '../../src/audit/audit.ts';
import { auditHtml } from '../../src/audit/html/document.ts';
import { auditJson } from '../../src/audit/json.ts';
import { needsOf, type StoredVersion, withUnneeded } from '../../src/audit/needs.ts';
import { auditMetrics } from '../../src/audit/prometheus.ts';
import { remarksOf } from '../../src/audit/remarks.ts';
import type { AuditReport } from '../../src/audit/report.ts';
import { checksumRequirement, encryptedRequirement, versionRequirement } from '../../src/audit/requirements.ts';
import { conflictsOf } from '../../src/audit/settings.ts';
import { auditText, fileLines } from '../../src/audit/text.ts';
import type { EncryptionSettings } from '../../src/data/encryption-settings.ts';
import { dataLocations } from '../../src/server/data-locations.ts';
import { MemoryData } from '../support/memory-data.ts';
import { type AnyDirectory, anyPath } from './any-directory.ts';
import { HastyClock } from './hasty-clock.ts';
import { expectHtml, expectJson, expectLines, expectMetrics } from './well-formed.ts';

const SIGNAL = new AbortController().signal;
const LEAST_COLUMNS = 80;

/** A server around a directory, and the wishes of the person who asks. */
interface Around {
  readonly where: string;
  /** Undefined: no key directory is known. */
  readonly keys: { readonly directory: string; readonly stored: readonly StoredVersion[] } | undefined;
  readonly settings: EncryptionSettings | undefined;
  readonly format: 'html' | 'metrics' | 'json' | 'text';
  readonly columns: number | undefined;
  readonly isUnprepared: boolean;
  readonly checksums: boolean;
  readonly isOfFiles: boolean;
}

const version = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constantFrom(0xffffffff, 10_000));
const stored = fc.array(fc.record({ id: fc.constantFrom(1, 2, 5, 7, 0xffffffff), version }), { maxLength: 8 });
const around: fc.Arbitrary<Around> = fc.record({
  where: anyPath,
  // Without a key directory thousands of versions may be listed.
  keys: fc.option(fc.record({ directory: anyPath, stored }), { nil: undefined, freq: 40 }),
  settings: fc.option(
    fc.record({
      innodb_encrypt_tables: fc.constantFrom('ON', 'OFF', 'FORCE'),
      innodb_encrypt_log: fc.boolean(),
      innodb_encrypt_temporary_tables: fc.boolean(),
      encrypt_binlog: fc.boolean(),
      aria_encrypt_tables: fc.boolean(),
    }),
    { nil: undefined },
  ),
  format: fc.constantFrom<Around['format']>('html', 'metrics', 'json', 'text'),
  columns: fc.constantFrom(undefined, 20, 80, 132),
  isUnprepared: fc.boolean(),
  checksums: fc.boolean(),
  isOfFiles: fc.boolean(),
});

function reportOf(audit: Audit, { where, keys, settings, isOfFiles }: Around): AuditReport {
  const { files } = audit;
  const needs = withUnneeded(needsOf(files), keys?.stored);
  const conflicts = conflictsOf(files, settings);
  return {
    ...audit,
    where,
    paths: [where],
    notLookedAt: isOfFiles ? ["the server's other files"] : ['replicas'],
    needs,
    keyDirectory: keys?.directory,
    conflicts,
    remarks: remarksOf(files, conflicts, needs, keys?.directory),
    requirements: [
      encryptedRequirement(audit),
      versionRequirement(needs, { id: undefined, version: 3 }),
      checksumRequirement(audit),
    ],
    release: '1.2.3',
    endMs: 0,
    durationMs: 1,
  };
}

async function reportDirectory(directory: AnyDirectory, wishes: Around): Promise<void> {
  const disk = new MemoryData();
  for (const [path, bytes] of directory) disk.put(join('/data', path), bytes);
  const locations = dataLocations('/data', () => undefined);
  const { isUnprepared, checksums, isOfFiles } = wishes;
  const place = isOfFiles
    ? { files: [...disk.files.keys()] }
    : { locations, isCopy: true, isUnprepared, more: [...disk.files.keys()] };
  const audit = await auditData([place], { disk, clock: new HastyClock(), signal: SIGNAL, checksums });
  const report = reportOf(audit, wishes);
  const names = report.files.map(({ file }) => file);
  expectReport(report, names, wishes);
}

/** A single report: all together take most of the time of an execution. */
function expectReport(report: AuditReport, names: readonly string[], { format, columns }: Around): void {
  switch (format) {
    case 'html':
      expectHtml(auditHtml(report), names.length);
      break;
    case 'metrics':
      expectMetrics(auditMetrics(report));
      break;
    case 'json':
      expectJson(auditJson(report), names);
      break;
    case 'text': {
      expectLines(auditText(report, columns), columns === undefined ? undefined : Math.max(LEAST_COLUMNS, columns));
      const lines = fileLines(report);
      expectLines(lines);
      if (lines.length !== names.length + report.unseen.length) throw new Error(`${lines.length} lines of files`);
    }
  }
}

export function reportsProperty(
  directory: fc.Arbitrary<AnyDirectory>,
  within: (run: () => Promise<void>) => Promise<void>,
): fc.IRawProperty<unknown> {
  return fc.asyncProperty(directory, around, (files, wishes) => within(() => reportDirectory(files, wishes)));
}
