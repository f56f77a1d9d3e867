import { isKeyId, isKeyVersion, type KeyId, type KeyVersion, parseDecimal } from '../ids.ts';

/** Every file of ours in a key directory begins so; mariadb-backup copies what does (facts of its source). */
export const KEY_FILE_PREFIX = 'aws-kms-key.';
/** Work in progress: hidden, and not carried along by mariadb-backup. */
export const TEMPORARY_PREFIX = '.aws-kms-tmp-';
/** Key material of the mock mode's embedded KMS. */
export const MOCK_STATE_FILE = 'aws-kms-key.mock.json';

export interface KeyName {
  readonly id: KeyId;
  readonly version: KeyVersion;
}

/** What a name in a key directory stands for. */
export type FileName =
  | { readonly kind: 'wrapped-key' | 'sidecar'; readonly name: KeyName }
  | { readonly kind: 'temporary' | 'mock-state' | 'stray' | 'foreign' };

export function keyFileName({ id, version }: KeyName): string {
  return `${KEY_FILE_PREFIX}${id}.${version}`;
}

export function sidecarFileName(name: KeyName): string {
  return `${keyFileName(name)}.json`;
}

/** `stray` begins like a key file and is none (`aws-kms-key.01.1`); `foreign` is somebody else's file. */
export function parseFileName(file: string): FileName {
  if (file.startsWith(TEMPORARY_PREFIX)) return { kind: 'temporary' };
  if (file === MOCK_STATE_FILE) return { kind: 'mock-state' };
  if (!file.startsWith(KEY_FILE_PREFIX)) return { kind: 'foreign' };
  const [id, version, extension, ...rest] = file.slice(KEY_FILE_PREFIX.length).split('.');
  const name = parseKeyName(id, version);
  if (name === undefined || rest.length > 0) return { kind: 'stray' };
  if (extension === undefined) return { kind: 'wrapped-key', name };
  return extension === 'json' ? { kind: 'sidecar', name } : { kind: 'stray' };
}

function parseKeyName(idText: string | undefined, versionText: string | undefined): KeyName | undefined {
  const id = parseDecimal(idText ?? '');
  const version = parseDecimal(versionText ?? '');
  if (id === undefined || version === undefined || !isKeyId(id) || !isKeyVersion(version)) return undefined;
  return { id, version };
}

export function compareKeyNames(a: KeyName, b: KeyName): number {
  return a.id - b.id || a.version - b.version;
}

/** How messages name a key: `key 7 version 3`. */
export function describeKey({ id, version }: KeyName): string {
  return `key ${id} version ${version}`;
}
