import { createCipheriv, createDecipheriv } from 'node:crypto';
import { isDataKeyLength, wipe } from '../bytes.ts';
import { KeyError } from '../errors.ts';
import { isKeyId, isKeyVersion } from '../ids.ts';
import { ENCRYPTION_ALGORITHMS, type EncryptionAlgorithm } from './encryption-algorithm.ts';
import { type EncryptionContext, isEmptyContext } from './encryption-context.ts';
import { contextOf, objectOf, parseJson, textField } from './json-fields.ts';
import { compareKeyNames, describeKey, type KeyName } from './key-file-name.ts';
import { readBack } from './read-back.ts';

/** The sealed key cache of docs/key-files.md: data keys, encrypted and bound to their wrapped keys. */

/** Authenticated with the data keys, and readable without a key. */
export interface KeyCacheHeader {
  /** ISO 8601, UTC. */
  readonly created: string;
  /** The values of `aws_key_management_master_key_id` and `aws_key_management_encryption_context`. */
  readonly masterKeyId: string;
  readonly encryptionContext: EncryptionContext;
  /** The master key of every wrapped key in the set, and of the sealing key. */
  readonly masterKeyArn: string;
  /** KMS's CiphertextBlob of the key that seals this cache only. */
  readonly wrappedSealingKey: Buffer;
}

export interface CachedKey {
  readonly name: KeyName;
  /** SHA-256 of the wrapped key, 32 bytes. */
  readonly wrappedSha256: Buffer;
  readonly algorithm: EncryptionAlgorithm;
  readonly dataKey: Buffer;
}

export interface ClosedKeyCache {
  readonly header: KeyCacheHeader;
  /** The keys in the cache: by id and version, each once. Not authenticated before `open`. */
  readonly names: readonly KeyName[];
  wrappedSha256(index: number): Buffer;
  hasSha256(index: number, sha256: Buffer): boolean;
  /**
   * Decrypts the cache. The data keys are in the order of `names`, as views of `bytes`, which the caller wipes.
   * @throws KeyError KEY_CACHE_UNUSABLE
   */
  open(sealingKey: Uint8Array): OpenKeyCache;
}

export interface OpenKeyCache {
  readonly bytes: Buffer;
  key(index: number): Pick<CachedKey, 'algorithm' | 'dataKey'>;
}

const MAGIC = Buffer.from('AKMCACH1');
const MAX_HEADER_BYTES = 65_536;
const SHA256_BYTES = 32;
const SET_BYTES = 4 + 4 + SHA256_BYTES;
const MAX_KEY_BYTES = 32;
const SEALED_BYTES = 1 + 1 + MAX_KEY_BYTES;
const TAG_BYTES = 16;
const COUNT_BYTES = 4;
/** A sealing key encrypts only once, so a constant nonce is never used twice with it. */
const NONCE = Buffer.alloc(12);
const CIPHER = 'aes-256-gcm';
/** The tag authenticates the header, so its values need no further checks. */
const ANY = /^/;

/** The most bytes of a cache with so many key versions. */
export function maxKeyCacheBytes(versions: number): number {
  return (
    MAGIC.length + COUNT_BYTES + MAX_HEADER_BYTES + COUNT_BYTES + versions * (SET_BYTES + SEALED_BYTES) + TAG_BYTES
  );
}

/**
 * @param sealingKey 32 bytes, used for this cache only
 * @throws KeyError KMS_BAD_ANSWER: `parseKeyCache` would refuse the result
 */
export function sealKeyCache(header: KeyCacheHeader, keys: readonly CachedKey[], sealingKey: Uint8Array): Buffer {
  const sorted = [...keys].sort((a, b) => compareKeyNames(a.name, b.name));
  const text = Buffer.from(formatHeader(header));
  const start = MAGIC.length + COUNT_BYTES + text.length + COUNT_BYTES;
  const associated = Buffer.alloc(start + sorted.length * SET_BYTES);
  MAGIC.copy(associated);
  associated.writeUInt32BE(text.length, MAGIC.length);
  text.copy(associated, MAGIC.length + COUNT_BYTES);
  associated.writeUInt32BE(sorted.length, start - COUNT_BYTES);
  const plain = Buffer.alloc(sorted.length * SEALED_BYTES);
  try {
    for (const [index, { name, wrappedSha256, algorithm, dataKey }] of sorted.entries()) {
      const at = start + index * SET_BYTES;
      associated.writeUInt32BE(name.id, at);
      associated.writeUInt32BE(name.version, at + 4);
      associated.set(wrappedSha256, at + 8);
      plain.writeUInt8(ENCRYPTION_ALGORITHMS.indexOf(algorithm) + 1, index * SEALED_BYTES);
      plain.writeUInt8(dataKey.length, index * SEALED_BYTES + 1);
      plain.set(dataKey, index * SEALED_BYTES + 2);
    }
    const cipher = createCipheriv(CIPHER, sealingKey, NONCE, { authTagLength: TAG_BYTES }).setAAD(associated);
    const sealed = Buffer.concat([associated, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    return readBack(sealed, (bytes) => {
      parseKeyCache(bytes);
    });
  } finally {
    wipe(plain);
  }
}

/** @throws KeyError KEY_CACHE_UNUSABLE */
export function parseKeyCache(bytes: Buffer): ClosedKeyCache {
  const headerAt = MAGIC.length + COUNT_BYTES;
  if (bytes.length < headerAt || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw keyCacheUnusable('it is no key cache of this format');
  }
  const headerBytes = bytes.readUInt32BE(MAGIC.length);
  const start = headerAt + headerBytes + COUNT_BYTES;
  if (headerBytes > MAX_HEADER_BYTES || start > bytes.length) throw keyCacheUnusable('its header is cut off');
  const count = bytes.readUInt32BE(start - COUNT_BYTES);
  const expected = start + count * (SET_BYTES + SEALED_BYTES) + TAG_BYTES;
  if (bytes.length !== expected) throw keyCacheUnusable(`expected ${expected} bytes, got ${bytes.length}`);
  const end = start + count * SET_BYTES;
  return {
    header: parseHeader(bytes.toString('utf8', headerAt, headerAt + headerBytes)),
    names: parseNames(bytes, start, count),
    wrappedSha256: (index) => bytes.subarray(start + index * SET_BYTES + 8, start + (index + 1) * SET_BYTES),
    hasSha256: (index, sha256) =>
      bytes.compare(sha256, 0, SHA256_BYTES, start + index * SET_BYTES + 8, start + (index + 1) * SET_BYTES) === 0,
    open: (sealingKey) => openBody(bytes.subarray(0, end), bytes.subarray(end), sealingKey),
  };
}

function parseNames(bytes: Buffer, start: number, count: number): readonly KeyName[] {
  const names: KeyName[] = [];
  for (let index = 0; index < count; index += 1) {
    const id = bytes.readUInt32BE(start + index * SET_BYTES);
    const version = bytes.readUInt32BE(start + index * SET_BYTES + 4);
    if (!isKeyId(id) || !isKeyVersion(version)) throw keyCacheUnusable(`it names key ${id} version ${version}`);
    const name = { id, version };
    const before = names.at(-1);
    if (before !== undefined && compareKeyNames(before, name) >= 0) {
      throw keyCacheUnusable(`${describeKey(name)} is not in its place`);
    }
    names.push(name);
  }
  return names;
}

function openBody(associated: Buffer, body: Buffer, sealingKey: Uint8Array): OpenKeyCache {
  const sealed = body.subarray(0, body.length - TAG_BYTES);
  const decipher = createDecipheriv(CIPHER, sealingKey, NONCE, { authTagLength: TAG_BYTES })
    .setAAD(associated)
    .setAuthTag(body.subarray(sealed.length));
  const bytes = decipher.update(sealed);
  try {
    decipher.final();
  } catch (cause) {
    wipe(bytes);
    throw keyCacheUnusable('it was changed: its authentication tag is not that of its content', cause);
  }
  const key = (index: number): Pick<CachedKey, 'algorithm' | 'dataKey'> => {
    const at = index * SEALED_BYTES;
    const algorithm = ENCRYPTION_ALGORITHMS[bytes.readUInt8(at) - 1];
    if (algorithm === undefined) throw keyCacheUnusable('it names an algorithm that is not known');
    const length = bytes.readUInt8(at + 1);
    if (!isDataKeyLength(length)) throw keyCacheUnusable(`"data key" expected 16, 24 or 32 bytes, got ${length}`);
    return { algorithm, dataKey: bytes.subarray(at + 2, at + 2 + length) };
  };
  return { bytes, key };
}

function formatHeader({ wrappedSealingKey, encryptionContext, ...facts }: KeyCacheHeader): string {
  const context = isEmptyContext(encryptionContext) ? {} : { encryptionContext };
  return JSON.stringify({ ...facts, ...context, wrappedSealingKey: wrappedSealingKey.toString('base64') });
}

function parseHeader(text: string): KeyCacheHeader {
  const header = parseJson(text, 'its header is not JSON', keyCacheUnusable);
  const fields = objectOf(header, 'its header is malformed', keyCacheUnusable);
  const member = (name: string): string => textField(fields, name, ANY, keyCacheUnusable);
  return {
    created: member('created'),
    masterKeyId: member('masterKeyId'),
    masterKeyArn: member('masterKeyArn'),
    encryptionContext: contextOf(fields['encryptionContext'] ?? {}, keyCacheUnusable),
    wrappedSealingKey: Buffer.from(member('wrappedSealingKey'), 'base64'),
  };
}

export function keyCacheUnusable(reason: string, cause?: unknown): KeyError {
  return new KeyError('KEY_CACHE_UNUSABLE', reason, { cause });
}
