/** Audits as data, for tests of what is made of them. */
import type { FileAudit } from '../../src/audit/file-audit.ts';
import { needsOf } from '../../src/audit/needs.ts';
import type { AuditReport } from '../../src/audit/report.ts';

const PAGE = 16_384;

/** A tablespace of pages of 16 KiB: `used` and `free` are those of key version 1. */
export function tablespace(
  file: string,
  { used = 0, free = 0, clear = 0, clearFree = 0, empty = 0, more = {} as Partial<FileAudit> } = {},
): FileAudit {
  const all = 1 + used + free + clear + clearFree + empty;
  return {
    file,
    kind: 'tablespace',
    bytes: all * PAGE,
    state: stateOf(used, clear),
    keyId: used + free > 0 ? 1 : undefined,
    asked: undefined,
    versions: used + free > 0 ? [{ version: 1, used, free }] : [],
    pages: {
      all,
      clear: { used: clear, free: clearFree },
      spatial: 0,
      unnamed: 0,
      neverEncrypted: 1,
      empty,
      copies: 0,
      strange: [],
      strangePages: 0,
    },
    ...more,
  };
}

export function log(kind: 'redo log' | 'binary log', file: string, version: number | undefined): FileAudit {
  return {
    file,
    kind,
    bytes: 1_000,
    state: version === undefined ? 'clear' : 'encrypted',
    keyId: version === undefined ? undefined : 1,
    asked: undefined,
    versions: version === undefined ? [] : [{ version, used: 0, free: 0 }],
    pages: undefined,
  };
}

export function reportOf(files: readonly FileAudit[], more: Partial<AuditReport> = {}): AuditReport {
  return {
    files,
    unseen: [],
    where: '/var/lib/mysql',
    paths: ['/var/lib/mysql'],
    notLookedAt: ['backups', 'replicas'],
    needs: needsOf(files),
    keyDirectory: undefined,
    conflicts: [],
    remarks: [],
    requirements: [],
    release: '1.2.3',
    endMs: Date.UTC(2030, 0, 2, 3, 4, 5),
    durationMs: 1_500,
    ...more,
  };
}

function stateOf(used: number, clear: number): FileAudit['state'] {
  if (used > 0) return clear > 0 ? 'partly' : 'encrypted';
  return clear > 0 ? 'clear' : 'empty';
}
