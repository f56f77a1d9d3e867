import { KeyError } from '../errors.ts';
import { compareKeyNames, type KeyName } from '../format/key-file-name.ts';
import { type KeyId, type KeyVersion, keyVersion, MAX_KEY_VERSION } from '../ids.ts';
import type { Listing } from '../keystore/store.ts';

/**
 * Returns the highest version of each key id. A lost or retired version counts: its number may be on pages, and is
 * never used again.
 */
export function latestVersions({ stored, lost, retired }: Listing): Map<KeyId, KeyVersion> {
  const latest = new Map<KeyId, KeyVersion>();
  for (const { id, version } of [...stored, ...lost, ...retired]) {
    if (version > (latest.get(id) ?? 0)) latest.set(id, version);
  }
  return latest;
}

/** Versions of one key id, from the first to the last. */
export interface VersionRange {
  readonly id: KeyId;
  readonly first: KeyVersion;
  readonly last: KeyVersion;
}

/**
 * Returns the versions of which nothing is stored and that were not retired, although later ones of the same key id are
 * stored, ordered.
 */
export function gaps({ stored, lost, retired }: Listing): readonly VersionRange[] {
  const found: VersionRange[] = [];
  let previous: KeyName | undefined;
  for (const name of [...stored, ...lost, ...retired].sort(compareKeyNames)) {
    const before = previous?.id === name.id ? previous.version : 0;
    if (name.version > before + 1) {
      found.push({ id: name.id, first: keyVersion(before + 1), last: keyVersion(name.version - 1) });
    }
    previous = name;
  }
  return found;
}

/** @throws KeyError KEY_VERSIONS_EXHAUSTED */
export function nextVersion(id: KeyId, latest: KeyVersion): KeyVersion {
  if (latest === MAX_KEY_VERSION) {
    throw new KeyError('KEY_VERSIONS_EXHAUSTED', `key ${id} is at its last version, ${MAX_KEY_VERSION}`, {
      hint: 'move the tables to another key: ALTER TABLE ... ENCRYPTION_KEY_ID=...',
    });
  }
  return keyVersion(latest + 1);
}

/** Reorders names from ascending order: the latest version of each id first, then the older ones. */
export function latestFirst(names: readonly KeyName[]): KeyName[] {
  const isLatest = (index: number): boolean => names[index]?.id !== names[index + 1]?.id;
  return [...names.filter((_, index) => isLatest(index)), ...names.filter((_, index) => !isLatest(index))];
}
