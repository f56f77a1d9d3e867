/** The data that still needs each key version, by what it needs it for. */
import type { FileAudit, VersionUse } from './file-audit.ts';

/**
 * `start`: the redo log, pages in use of the system tablespace and of undo tablespaces, and Aria tables without which
 * nobody can use the server. `read`: other pages in use. `import`: free pages, for which only IMPORT TABLESPACE of that file
 * asks. `logs`: binary and relay logs.
 */
export type NeedClass = 'start' | 'read' | 'import' | 'logs';
export const NEED_CLASSES: readonly NeedClass[] = ['start', 'read', 'import', 'logs'];

export interface Need {
  readonly files: readonly string[];
  readonly pages: number;
}

export interface KeyVersionNeeds {
  readonly id: number;
  readonly version: number;
  /** A class is there when something needs the version for it. */
  readonly needs: Readonly<Partial<Record<NeedClass, Need>>>;
}

interface Gathered {
  readonly id: number;
  readonly version: number;
  readonly needs: Partial<Record<NeedClass, { files: string[]; pages: number }>>;
}

/** Returns the key versions that anything needs, in their order. */
export function needsOf(files: readonly FileAudit[]): readonly KeyVersionNeeds[] {
  const gathered = new Map<string, Gathered>();
  for (const { file, kind, keyId, versions } of files) {
    const inUse = isForStart(file, kind) ? 'start' : 'read';
    if (keyId === undefined) continue;
    for (const use of versions) {
      const classes = classesOf(kind, inUse, use);
      if (classes.length === 0) continue;
      const name = `${keyId}.${use.version}`;
      const key = gathered.get(name) ?? { id: keyId, version: use.version, needs: {} };
      gathered.set(name, key);
      for (const [need, pages] of classes) {
        const known = key.needs[need] ?? { files: [], pages: 0 };
        key.needs[need] = known;
        known.files.push(file);
        known.pages += pages;
      }
    }
  }
  return [...gathered.values()].sort((a, b) => a.id - b.id || a.version - b.version);
}

function classesOf(
  kind: FileAudit['kind'],
  inUse: NeedClass,
  { used, free }: VersionUse,
): readonly (readonly [NeedClass, number])[] {
  if (kind === 'redo log') return [['start', 0]];
  if (kind === 'binary log') return [['logs', 0]];
  const isImported = kind === 'tablespace' && free > 0;
  return [...(used > 0 ? [[inUse, used] as const] : []), ...(isImported ? [['import', free] as const] : [])];
}

/**
 * Without mysql.global_priv a server starts and denies every login; without mysql.time_zone_leap_second it does not
 * start. Other system tables only fail, like any table.
 */
function isForStart(file: string, kind: FileAudit['kind']): boolean {
  if (kind === 'Aria table') return /^mysql\/(?:global_priv|time_zone_leap_second)\.MAI$/.test(file);
  return kind === 'system tablespace' || kind === 'undo tablespace';
}
