import { isKeyId, isKeyVersion, type KeyId, type KeyVersion } from '../ids.ts';

/** The prefix of key files and sidecars; mariadb-backup copies files with this prefix. */
export const KEY_FILE_PREFIX = 'aws-kms-key.';
export const SIDECAR_SUFFIX = '.json';
/** The prefix of temporary files: hidden, and not copied by mariadb-backup. */
export const TEMPORARY_PREFIX = '.aws-kms-tmp-';
/** The key material of the mock mode's embedded KMS. */
export const MOCK_STATE_FILE = 'aws-kms-key.mock.json';
/**
 * The cache of data keys. mariadb-backup does not copy this name: a backup needs the key files only, and the cache
 * would be out of date.
 */
export const KEY_CACHE_FILE = 'aws-kms-sealed-key-cache';
/** The lock of a running rewrap. mariadb-backup does not copy this name, either. */
export const REWRAP_LOCK_FILE = 'aws-kms-rewrap-lock';

/**
 * The directory of retired key files, in the key directory. The name is hidden because the key directory may be the data
 * directory, where MariaDB takes any other directory for a database.
 */
export const RETIRED_DIRECTORY = '.aws-kms-retired';

const KEY_FILE = /^aws-kms-key\.([1-9]\d{0,9})\.([1-9]\d{0,9})(\.json)?$/;

export interface KeyName {
  readonly id: KeyId;
  readonly version: KeyVersion;
}

/** The meaning of a file name in a key directory. */
export type FileName =
  | { readonly kind: 'wrapped-key' | 'sidecar'; readonly name: KeyName }
  | { readonly kind: 'temporary' | 'mock-state' | 'key-cache' | 'rewrap-lock' | 'stray' | 'foreign' };

export function keyFileName({ id, version }: KeyName): string {
  return `${KEY_FILE_PREFIX}${id}.${version}`;
}

export function sidecarFileName(name: KeyName): string {
  return `${keyFileName(name)}${SIDECAR_SUFFIX}`;
}

/** `stray` begins like a key file and is none (`aws-kms-key.01.1`); `foreign` belongs to another program. */
export function parseFileName(file: string): FileName {
  if (file.startsWith(TEMPORARY_PREFIX)) return { kind: 'temporary' };
  if (file === MOCK_STATE_FILE) return { kind: 'mock-state' };
  if (file === KEY_CACHE_FILE) return { kind: 'key-cache' };
  if (file === REWRAP_LOCK_FILE) return { kind: 'rewrap-lock' };
  if (!file.startsWith(KEY_FILE_PREFIX)) return { kind: 'foreign' };
  const parts = KEY_FILE.exec(file);
  const id = Number(parts?.[1]);
  const version = Number(parts?.[2]);
  if (!isKeyId(id) || !isKeyVersion(version)) return { kind: 'stray' };
  return { kind: parts?.[3] === undefined ? 'wrapped-key' : 'sidecar', name: { id, version } };
}

export function compareKeyNames(a: KeyName, b: KeyName): number {
  return a.id - b.id || a.version - b.version;
}

/** Returns a key's name for messages: `key 7 version 3`. */
export function describeKey({ id, version }: KeyName): string {
  return `key ${id} version ${version}`;
}

/** Key names to print in one sentence. */
const NAMED = 10;

/** Returns the names of keys for messages, the first of many. */
export function describeKeys(names: readonly KeyName[]): string {
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : '';
  return `${names.slice(0, NAMED).map(describeKey).join(', ')}${more}`;
}
