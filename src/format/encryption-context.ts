import { KeyError } from '../errors.ts';
import type { KeyName } from './key-file-name.ts';

/** KMS's EncryptionContext: authenticated with the wrapped key, visible in CloudTrail, usable in policies. No secrets. */
export type EncryptionContext = Readonly<Record<string, string>>;

/** The pairs that bind a wrapped key to its place. */
export const KEY_ID_PAIR = 'mariadb-aws-kms:key-id';
export const KEY_VERSION_PAIR = 'mariadb-aws-kms:key-version';

/** As the plugin has it: all settings fit into one frame. KMS takes 8192 characters. */
const MAX_TEXT = 2048;

/**
 * Parses `aws_key_management_encryption_context`: `name=value` pairs separated by commas; spaces around them are
 * dropped; empty means none.
 * @throws KeyError BAD_OPTION
 */
export function parseEncryptionContext(text: string): EncryptionContext {
  if (text.trim() === '') return {};
  if (text.length > MAX_TEXT) throw malformed(`expected at most ${MAX_TEXT} characters, got ${text.length}`);
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

/** The context of one key version: the configured pairs and its place; nothing at all when none are configured. */
export function keyContext(configured: EncryptionContext, { id, version }: KeyName): EncryptionContext {
  if (Object.keys(configured).length === 0) return {};
  return { ...configured, [KEY_ID_PAIR]: String(id), [KEY_VERSION_PAIR]: String(version) };
}

export function isEmptyContext(context: EncryptionContext): boolean {
  return Object.keys(context).length === 0;
}

function malformed(reason: string): KeyError {
  return new KeyError('BAD_OPTION', `aws_key_management_encryption_context: ${reason}`, {
    hint: 'write name=value pairs separated by commas, for example cluster=orders,environment=production',
  });
}
