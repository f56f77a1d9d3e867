/** Requirements of an operator, as exit status for scripts. */
import type { Audit } from './audit.ts';
import type { KeyVersionNeeds, NeedClass } from './needs.ts';

/** `--require-version`: nothing may need a lower version, of one key id or of all. */
export interface VersionRequirement {
  readonly id: number | undefined;
  readonly version: number;
}

export interface Requirement {
  /** The option: `--require-encrypted`, `--require-version 5.3`. */
  readonly requirement: string;
  readonly isMet: boolean;
  /** The files that do not meet it. */
  readonly files: readonly string[];
}

/** Free pages do not count: no server reads them. */
const COUNTED: readonly NeedClass[] = ['start', 'read', 'logs'];

/** `3`: for all key ids; `5.3`: for key id 5. Undefined: it is neither. */
export function parseVersionRequirement(text: string): VersionRequirement | undefined {
  const [, id, version] = /^(?:(\d{1,10})\.)?(\d{1,10})$/.exec(text) ?? [];
  const number = Number(version);
  if (version === undefined || !isNumber(number) || (id !== undefined && !isNumber(Number(id)))) return undefined;
  return { id: id === undefined ? undefined : Number(id), version: number };
}

export function encryptedRequirement({ files }: Audit): Requirement {
  const short = files.filter(({ state }) => state === 'clear' || state === 'partly').map(({ file }) => file);
  return { requirement: '--require-encrypted', isMet: short.length === 0, files: short };
}

export function versionRequirement(
  needs: readonly KeyVersionNeeds[],
  { id, version }: VersionRequirement,
): Requirement {
  const files = new Set<string>();
  for (const key of needs) {
    if (key.version >= version || (id !== undefined && key.id !== id)) continue;
    for (const need of COUNTED) for (const file of key.needs[need]?.files ?? []) files.add(file);
  }
  const requirement = `--require-version ${id === undefined ? '' : `${id}.`}${version}`;
  return { requirement, isMet: files.size === 0, files: [...files] };
}

/** A page counts as damaged when its header or checksum is wrong each time that it is read. */
export function checksumRequirement({ files }: Audit): Requirement {
  const damaged = files.filter(({ pages }) => (pages?.strangePages ?? 0) > 0).map(({ file }) => file);
  return { requirement: '--checksums', isMet: damaged.length === 0, files: damaged };
}

function isNumber(value: number): boolean {
  return value >= 1 && value <= 0xffffffff;
}
