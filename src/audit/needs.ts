/** The data that still needs each key version, by what it needs it for. */
import type { FileAudit, VersionUse } from './file-audit.ts';

/**
 * `start`: the redo log, without which the server does not start. `read`: pages in use. `import`: pages that are free,
 * which only IMPORT TABLESPACE of that file asks for. `logs`: binary and relay logs.
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
    if (keyId === undefined) continue;
    for (const use of versions) {
      const name = `${keyId}.${use.version}`;
      const key = gathered.get(name) ?? { id: keyId, version: use.version, needs: {} };
      gathered.set(name, key);
      for (const [need, pages] of classesOf(kind, use)) {
        const known = key.needs[need] ?? { files: [], pages: 0 };
        key.needs[need] = known;
        known.files.push(file);
        known.pages += pages;
      }
    }
  }
  return [...gathered.values()].sort((a, b) => a.id - b.id || a.version - b.version);
}

function classesOf(kind: FileAudit['kind'], { used, free }: VersionUse): readonly (readonly [NeedClass, number])[] {
  if (kind === 'redo log') return [['start', 0]];
  if (kind === 'binary log') return [['logs', 0]];
  return [...(used > 0 ? [['read', used] as const] : []), ...(free > 0 ? [['import', free] as const] : [])];
}
