import { KeyError } from '../errors.ts';
import { ENCRYPTION_ALGORITHMS, type EncryptionAlgorithm } from './encryption-algorithm.ts';
import type { KeyName } from './key-file-name.ts';

/**
 * KMS's EncryptionContext: authenticated with the wrapped key, visible in CloudTrail, usable in policies. It holds no
 * secrets.
 */
export type EncryptionContext = Readonly<Record<string, string>>;

/** The names of the pairs that bind a wrapped key to its key id and version. */
export const KEY_ID_PAIR = 'mariadb-aws-kms:key-id';
export const KEY_VERSION_PAIR = 'mariadb-aws-kms:key-version';
/** The name of the pair for the key's algorithm; only written for algorithms other than AES_CBC. */
export const ALGORITHM_PAIR = 'mariadb-aws-kms:encryption-algorithm';
/** The name of a pair that no data key has: it keeps data keys and keys of the key cache apart. */
export const KEY_CACHE_PAIR = 'mariadb-aws-kms:key-cache';

/** The plugin's limit, with which all settings fit into one frame. KMS accepts 8192 characters. */
export const MAX_CONTEXT_TEXT = 2048;

/**
 * Parses `aws_key_management_encryption_context`: `name=value` pairs separated by commas; spaces around them are
 * dropped; empty means none.
 * @throws KeyError BAD_OPTION
 */
export function parseEncryptionContext(text: string): EncryptionContext {
  if (text.trim() === '') return {};
  if (text.length > MAX_CONTEXT_TEXT)
    throw malformed(`expected at most ${MAX_CONTEXT_TEXT} characters, got ${text.length}`);
  const pairs = new Map<string, string>();
  for (const part of text.split(',')) {
    const [name = '', value = '', ...rest] = part.split('=').map((side) => side.trim());
    if (name === '' || value === '' || rest.length > 0) throw malformed(`"${part.trim()}" is no name=value pair`);
    if (!/^[!-~ ]+$/.test(name + value)) throw malformed(`"${part.trim()}" has characters other than printable ASCII`);
    if (/^(?:aws|mariadb-aws-kms):/.test(name)) throw malformed(`the name "${name}" is reserved`);
    if (pairs.has(name)) throw malformed(`the name "${name}" comes twice`);
    pairs.set(name, value);
  }
  return Object.fromEntries(pairs);
}

/**
 * The context of one key version: the configured pairs, its id and version, and its algorithm unless that is AES_CBC. A
 * version with AES_CBC and no configured pairs has an empty context, as the original plugin makes it.
 */
export function keyContext(
  configured: EncryptionContext,
  { id, version }: KeyName,
  algorithm: EncryptionAlgorithm,
): EncryptionContext {
  if (algorithm === 'AES_CBC' && isEmptyContext(configured)) return {};
  return {
    ...configured,
    [KEY_ID_PAIR]: String(id),
    [KEY_VERSION_PAIR]: String(version),
    ...(algorithm === 'AES_CBC' ? {} : { [ALGORITHM_PAIR]: algorithm }),
  };
}

/**
 * Returns the algorithm of a version that is bound to that context.
 * @throws KeyError KEY_FILE_CORRUPT for an algorithm that this release does not know
 */
export function algorithmOf(context: EncryptionContext): EncryptionAlgorithm {
  const pair = context[ALGORITHM_PAIR] ?? 'AES_CBC';
  const algorithm = ENCRYPTION_ALGORITHMS.find((known) => known === pair);
  if (algorithm !== undefined) return algorithm;
  throw new KeyError('KEY_FILE_CORRUPT', `its encryption context names an algorithm that is not known: "${pair}"`);
}

/**
 * The contexts that a version without a known context may be bound to, the most likely first. KMS opens the key with
 * the right one only, so success also tells the algorithm.
 */
export function contextCandidates(
  configured: EncryptionContext,
  name: KeyName,
): readonly [EncryptionContext, ...EncryptionContext[]] {
  const ofPlace = keyContext({}, name, 'AES_CTR');
  if (isEmptyContext(configured)) return [{}, ofPlace];
  return [keyContext(configured, name, 'AES_CBC'), {}, keyContext(configured, name, 'AES_CTR'), ofPlace];
}

/** The context of the key that seals the key cache. */
export function keyCacheContext(configured: EncryptionContext): EncryptionContext {
  return { ...configured, [KEY_CACHE_PAIR]: 'sealed' };
}

export function isSameContext(a: EncryptionContext, b: EncryptionContext): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

export function isEmptyContext(context: EncryptionContext): boolean {
  return Object.keys(context).length === 0;
}

function malformed(reason: string): KeyError {
  return new KeyError('BAD_OPTION', `aws_key_management_encryption_context: ${reason}`, {
    hint: 'write name=value pairs separated by commas, for example cluster=orders,environment=production',
  });
}
