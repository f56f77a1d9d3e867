/** Bytes of files by what they hold. A page counts with its part of the file's length. */
import type { FileAudit } from './file-audit.ts';
import type { KeyVersionNeeds, NeedClass } from './needs.ts';
import { hasRowsOutsidePages } from './settings.ts';

export interface Shares {
  /** Pages in use that are encrypted; encrypted logs. */
  readonly encrypted: number;
  /** Pages in use, rows and logs in clear. */
  readonly clear: number;
  /** Free pages, encrypted or not, which may still hold old data. */
  readonly free: number;
  /** Pages that the server never encrypts, empty pages, copies, and pages that could not be read steadily. */
  readonly other: number;
}

export const NO_SHARES: Shares = { encrypted: 0, clear: 0, free: 0, other: 0 };

export function sharesOf(file: FileAudit): Shares {
  const { bytes, state, versions, pages } = file;
  if (pages === undefined) return { ...NO_SHARES, [wholeShare(state)]: bytes };
  if (state === 'clear' && hasRowsOutsidePages(file)) return { ...NO_SHARES, clear: bytes };
  const used = versions.reduce((sum, version) => sum + version.used, pages.unnamed);
  const free = versions.reduce((sum, version) => sum + version.free, pages.clear.free);
  const page = pageBytes(bytes, pages.all);
  const [encrypted, clear] = [used * page, pages.clear.used * page];
  return { encrypted, clear, free: free * page, other: Math.max(0, bytes - encrypted - clear - free * page) };
}

export function addShares(one: Shares, other: Shares): Shares {
  return {
    encrypted: one.encrypted + other.encrypted,
    clear: one.clear + other.clear,
    free: one.free + other.free,
    other: one.other + other.other,
  };
}

export function sharesSum({ encrypted, clear, free, other }: Shares): number {
  return encrypted + clear + free + other;
}

/** Bytes that need a key version, by what they need it for. */
export function neededBytes(
  files: ReadonlyMap<string, FileAudit>,
  { version, needs }: KeyVersionNeeds,
  need: NeedClass,
): number {
  let bytes = 0;
  for (const name of needs[need]?.files ?? []) {
    const file = files.get(name);
    if (file === undefined) continue;
    const use = file.versions.find((each) => each.version === version);
    if (file.pages === undefined || use === undefined) bytes += file.bytes;
    else bytes += (need === 'import' ? use.free : use.used) * pageBytes(file.bytes, file.pages.all);
  }
  return bytes;
}

function wholeShare(state: FileAudit['state']): keyof Shares {
  switch (state) {
    case 'empty':
      return 'other';
    case 'clear':
      return 'clear';
    default:
      return 'encrypted';
  }
}

function pageBytes(bytes: number, pages: number): number {
  return pages === 0 ? 0 : bytes / pages;
}
