/** The reasons why key versions are still needed, from what the audit found in the files. */
import type { FileAudit, VersionUse } from './file-audit.ts';

/**
 * `start`: the redo log, pages in use of the system tablespace and of undo tablespaces, and Aria tables without which
 * nobody can use the server. `read`: other pages in use. `import`: free pages, for which only IMPORT TABLESPACE of that
 * file asks. `logs`: binary and relay logs, archived redo logs, and the redo log of a backup that was
 * not prepared.
 */
export type NeedClass = 'start' | 'read' | 'import' | 'logs';
export const NEED_CLASSES: readonly NeedClass[] = ['start', 'read', 'import', 'logs'];

export interface Need {
  readonly files: readonly string[];
  readonly pages: number;
}

/** A key version's name. */
export interface StoredVersion {
  readonly id: number;
  readonly version: number;
}

export interface KeyVersionNeeds {
  readonly id: number;
  readonly version: number;
  /** A class is there when something needs the version for it. */
  readonly needs: Readonly<Partial<Record<NeedClass, Need>>>;
  /** Whether the key directory has the version; undefined where no key directory is known. */
  readonly isStored?: boolean | undefined;
}

interface Gathered extends StoredVersion {
  readonly needs: Partial<Record<NeedClass, { files: string[]; pages: number }>>;
}

/** Versions of all key ids to list that nothing needs, where no key directory says which exist. */
const MOST_UNNEEDED = 10_000;

/** Returns the key versions that anything needs, in their order. */
export function needsOf(files: readonly FileAudit[]): readonly KeyVersionNeeds[] {
  const gathered = new Map<string, Gathered>();
  for (const { file, path = file, kind, keyId, versions } of files) {
    const inUse = isForStart(path, kind) ? 'start' : 'read';
    if (keyId === undefined) continue;
    for (const use of versions) {
      for (const [need, pages] of needClasses(kind, inUse, use)) {
        const name = nameOf({ id: keyId, version: use.version });
        const key = gathered.get(name) ?? { id: keyId, version: use.version, needs: {} };
        gathered.set(name, key);
        const known = key.needs[need] ?? { files: [], pages: 0 };
        key.needs[need] = known;
        known.files.push(file);
        known.pages += pages;
      }
    }
  }
  return [...gathered.values()].sort(byName);
}

/**
 * Adds the key versions that nothing here needs.
 * @param stored the versions in the key directory; undefined where none is known: then all versions of a key id below
 * the highest that is needed
 */
export function withUnneeded(
  needed: readonly KeyVersionNeeds[],
  stored?: readonly StoredVersion[],
): readonly KeyVersionNeeds[] {
  const names = new Set(needed.map(nameOf));
  const others = [...(stored ?? below(needed))].filter((key) => !names.has(nameOf(key)));
  const all = [...needed, ...others.map(({ id, version }) => ({ id, version, needs: {} }))].sort(byName);
  const known = stored === undefined ? undefined : new Set(stored.map(nameOf));
  return known === undefined ? all : all.map((key) => ({ ...key, isStored: known.has(nameOf(key)) }));
}

export function isNeeded({ needs }: KeyVersionNeeds): boolean {
  return NEED_CLASSES.some((need) => needs[need] !== undefined);
}

function* below(needed: readonly StoredVersion[]): Generator<StoredVersion> {
  const highest = new Map<number, number>();
  for (const { id, version } of needed) highest.set(id, Math.max(version, highest.get(id) ?? 0));
  // Damaged files may name any number of key ids.
  const most = Math.floor(MOST_UNNEEDED / highest.size);
  for (const [id, last] of highest)
    for (let version = Math.max(1, last - most); version < last; version += 1) yield { id, version };
}

function byName(a: StoredVersion, b: StoredVersion): number {
  return a.id - b.id || a.version - b.version;
}

function nameOf({ id, version }: StoredVersion): string {
  return `${id}.${version}`;
}

/** The server makes temporary files anew at each start, and no start needs their keys. */
export function needClasses(
  kind: FileAudit['kind'],
  inUse: NeedClass,
  { used, free }: VersionUse,
): readonly (readonly [NeedClass, number])[] {
  switch (kind) {
    case 'redo log':
      return [['start', 0]];
    case 'redo log of a backup':
    case 'archived redo log':
    case 'binary log':
    case 'relay log':
      return [['logs', 0]];
    case 'temporary tablespace':
    case 'temporary Aria table':
      return [];
    default: {
      const isImported = kind === 'tablespace' && free > 0;
      return [...(used > 0 ? [[inUse, used] as const] : []), ...(isImported ? [['import', free] as const] : [])];
    }
  }
}

/**
 * Without mysql.global_priv a server starts and denies every login; without mysql.time_zone_leap_second it does not
 * start. Other system tables only fail, like any table.
 */
export function isForStart(path: string, kind: FileAudit['kind']): boolean {
  if (kind === 'Aria table') return /(?:^|\/)mysql\/(?:global_priv|time_zone_leap_second)\.MAI$/.test(path);
  return kind === 'system tablespace' || kind === 'undo tablespace';
}
