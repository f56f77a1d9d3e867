import { isKeyId, isKeyVersion, type KeyId, type KeyVersion } from '../ids.ts';

/** So do the names of key files and sidecars begin; mariadb-backup copies what does (facts of its source). */
export const KEY_FILE_PREFIX = 'aws-kms-key.';
export const SIDECAR_SUFFIX = '.json';
/** Work in progress: hidden, and not carried along by mariadb-backup. */
export const TEMPORARY_PREFIX = '.aws-kms-tmp-';
/** Key material of the mock mode's embedded KMS. */
export const MOCK_STATE_FILE = 'aws-kms-key.mock.json';
/** Not a name that mariadb-backup copies: it would be out of date in a backup, which needs the key files only. */
export const KEY_RING_FILE = 'aws-kms-sealed-key-ring';
/** Of a rewrap at work. Not a name that mariadb-backup copies, either. */
export const REWRAP_LOCK_FILE = 'aws-kms-rewrap-lock';

const KEY_FILE = /^aws-kms-key\.([1-9]\d{0,9})\.([1-9]\d{0,9})(\.json)?$/;

export interface KeyName {
  readonly id: KeyId;
  readonly version: KeyVersion;
}

/** What a name in a key directory stands for. */
export type FileName =
  | { readonly kind: 'wrapped-key' | 'sidecar'; readonly name: KeyName }
  | { readonly kind: 'temporary' | 'mock-state' | 'key-ring' | 'rewrap-lock' | 'stray' | 'foreign' };

export function keyFileName({ id, version }: KeyName): string {
  return `${KEY_FILE_PREFIX}${id}.${version}`;
}

export function sidecarFileName(name: KeyName): string {
  return `${keyFileName(name)}${SIDECAR_SUFFIX}`;
}

/** `stray` begins like a key file and is none (`aws-kms-key.01.1`); `foreign` is somebody else's file. */
export function parseFileName(file: string): FileName {
  if (file.startsWith(TEMPORARY_PREFIX)) return { kind: 'temporary' };
  if (file === MOCK_STATE_FILE) return { kind: 'mock-state' };
  if (file === KEY_RING_FILE) return { kind: 'key-ring' };
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

/** How messages name a key: `key 7 version 3`. */
export function describeKey({ id, version }: KeyName): string {
  return `key ${id} version ${version}`;
}
