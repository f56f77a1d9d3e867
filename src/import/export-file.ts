/** The key file of file_key_management with the keys of a key directory: the way back. */
import { createCipheriv, createHash } from 'node:crypto';
import { joinLines, lineWithKey, wipe } from '../bytes.ts';
import type { DataKeys } from '../decrypt/data-keys.ts';
import { KeyError } from '../errors.ts';
import type { EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import { describeKey, type KeyName } from '../format/key-file-name.ts';
import { type KeyId, keyId, keyVersion } from '../ids.ts';
import type { ForeignKey } from './imported-key.ts';
import type { ProvenUse } from './prove.ts';

export interface ExportableKeys {
  readonly keys: readonly ForeignKey[];
  readonly algorithm: EncryptionAlgorithm;
  /** Stored versions that no data needs, and that the file cannot hold. */
  readonly left: readonly KeyName[];
}

const FIRST = keyVersion(1);
const SYSTEM_KEY = keyId(1);
const NAMED = 5;

/**
 * Returns the keys that file_key_management can have: version 1 of each key id, all for one algorithm.
 * @param uses the versions that the data needs
 * @throws KeyError KEY_NOT_ALLOWED naming what cannot be expressed, KEY_UNKNOWN, and what `keys` throws
 */
export async function exportableKeys(
  stored: readonly KeyName[],
  uses: readonly ProvenUse[],
  keys: DataKeys,
): Promise<ExportableKeys> {
  const later = uses.filter(({ version }) => version !== FIRST);
  if (later.length > 0) throw tooManyVersions(later);
  const first = stored.filter(({ version }) => version === FIRST);
  if (!first.some(({ id }) => id === SYSTEM_KEY))
    throw new KeyError('KEY_UNKNOWN', `key 1 version 1 is not in ${keys.place}, and file_key_management needs it`, {
      hint: 'without it that plugin does not load',
    });
  const found: ForeignKey[] = [];
  const byAlgorithm = new Map<EncryptionAlgorithm, KeyId[]>();
  for (const { id, version } of first) {
    const [key] = await keys.candidates(id, version);
    if (key === undefined) throw new KeyError('KEY_UNKNOWN', `${describeKey({ id, version })} is not in ${keys.place}`);
    byAlgorithm.set(key.algorithm, [...(byAlgorithm.get(key.algorithm) ?? []), id]);
    found.push({ id, version, bytes: Buffer.from(key.bytes.buffer, key.bytes.byteOffset, key.bytes.byteLength) });
  }
  const [one, other] = byAlgorithm;
  if (one !== undefined && other !== undefined) throw twoAlgorithms(one, other);
  return {
    keys: found.sort((a, b) => a.id - b.id),
    algorithm: one?.[0] ?? 'AES_CBC',
    left: stored.filter(({ version }) => version !== FIRST),
  };
}

/** The text of a key file. The caller wipes it. */
export function keyFileText(keys: readonly ForeignKey[]): Buffer {
  const lines = keys.map(({ id, bytes }) => lineWithKey(`${id};`, bytes));
  return joinLines('', lines);
}

const SALT_BYTES = 8;
const [KEY_BYTES, IV_BYTES] = [32, 16];

/** Encrypts a key file as `openssl enc -aes-256-cbc -md sha1` does: every release of file_key_management reads that. */
export function sealKeyFile(text: Buffer, passphrase: Buffer, salt: Buffer): Buffer {
  if (salt.length !== SALT_BYTES) throw new Error(`"salt" expected ${SALT_BYTES} bytes, got ${salt.length}`);
  const derived = Buffer.alloc(KEY_BYTES + IV_BYTES + 20);
  let before = Buffer.alloc(0);
  for (let length = 0; length < KEY_BYTES + IV_BYTES; length += before.length) {
    const digest = createHash('sha1').update(before).update(passphrase).update(salt).digest();
    wipe(before);
    digest.copy(derived, length);
    before = digest;
  }
  wipe(before);
  const cipher = createCipheriv(
    'aes-256-cbc',
    derived.subarray(0, KEY_BYTES),
    derived.subarray(KEY_BYTES, KEY_BYTES + IV_BYTES),
  );
  wipe(derived);
  return Buffer.concat([Buffer.from('Salted__'), salt, cipher.update(text), cipher.final()]);
}

function tooManyVersions(later: readonly ProvenUse[]): KeyError {
  const named = later.slice(0, NAMED).map(({ keyId: id, version }) => `key ${id} version ${version}`);
  const more = later.length > NAMED ? ` and ${later.length - NAMED} more` : '';
  const text = `data is under ${named.join(', ')}${more}, and file_key_management has version 1 of a key and no other`;
  return new KeyError('KEY_NOT_ALLOWED', text, {
    hint: 'move tables to a key id that was never rotated: ALTER TABLE … ENCRYPTION_KEY_ID=N, or decrypt them: ALTER TABLE … ENCRYPTED=NO. What is under key 1 has to be decrypted: innodb_encrypt_tables=OFF until INNODB_TABLESPACES_ENCRYPTION has no MIN_KEY_VERSION above 0, innodb_encrypt_log, encrypt_binlog and aria_encrypt_tables=OFF, a restart, PURGE BINARY LOGS, and ALTER TABLE … FORCE of Aria tables',
  });
}

function twoAlgorithms(
  [one, ids]: readonly [EncryptionAlgorithm, readonly KeyId[]],
  [other, others]: readonly [EncryptionAlgorithm, readonly KeyId[]],
): KeyError {
  const text = `key ${ids.slice(0, NAMED).join(', ')} is for ${one} and key ${others.slice(0, NAMED).join(', ')} for ${other}, and file_key_management has one mode for all`;
  return new KeyError('KEY_NOT_ALLOWED', text, {
    hint: 'move the tables of the fewer keys to key ids of the other mode: ALTER TABLE … ENCRYPTION_KEY_ID=N',
  });
}
