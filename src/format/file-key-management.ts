/**
 * The key file of MariaDB's plugin file_key_management, read as the server reads it: also where the server silently
 * reads something else than was meant, which is then a warning.
 */
import { createDecipheriv, createHash } from 'node:crypto';
import { wipe } from '../bytes.ts';
import { KeyError } from '../errors.ts';
import { isKeyId, type KeyId } from '../ids.ts';

/** The most bytes that the server reads of a key file. */
export const MAX_KEY_FILE_BYTES = 1_048_576;
/** The most bytes that a passphrase may have. */
export const MAX_PASSPHRASE_BYTES = 256;

export interface FileKeys {
  readonly keys: ReadonlyMap<KeyId, Buffer>;
  /** Lines that the server reads otherwise than they look, without saying so. No key bytes. */
  readonly warnings: readonly string[];
}

const PREFIX = Buffer.from('Salted__');
const SALT_BYTES = 8;
const [KEY_BYTES, IV_BYTES] = [32, 16];
const [CR, LF] = [13, 10];
const LENGTHS: readonly number[] = [16, 24, 32];
const MAX_DIGITS = 64;

/** Tells whether `openssl enc` encrypted the file with a passphrase. */
export function isEncryptedKeyFile(bytes: Buffer): boolean {
  return bytes.length > PREFIX.length && bytes.subarray(0, PREFIX.length).equals(PREFIX);
}

/**
 * Returns the passphrase in the bytes of its file: all of it, without CR and LF at its end. It is a part of `bytes`.
 * @throws KeyError KEY_FILE_CORRUPT
 */
export function passphraseOf(bytes: Buffer): Buffer {
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === CR || bytes[end - 1] === LF)) end -= 1;
  const text = bytes.subarray(0, end);
  const nul = text.indexOf(0);
  const passphrase = nul < 0 ? text : text.subarray(0, nul);
  if (passphrase.length > 0 && end <= MAX_PASSPHRASE_BYTES) return passphrase;
  throw new KeyError('KEY_FILE_CORRUPT', `passphrase: expected 1 to ${MAX_PASSPHRASE_BYTES} bytes, got ${end}`, {
    hint: 'name the file that file_key_management_filekey=FILE:… names: it holds the passphrase and nothing else',
  });
}

/**
 * Decrypts the output of `openssl enc -aes-256-cbc -md sha1`. The caller wipes the result.
 * @throws KeyError KEY_FILE_CORRUPT: it is another passphrase, or another digest or cipher was used
 */
export function decryptKeyFile(bytes: Buffer, passphrase: Buffer): Buffer {
  const begin = PREFIX.length + SALT_BYTES;
  const salt = bytes.subarray(PREFIX.length, begin);
  const derived = deriveKey(passphrase, salt);
  let clear: Buffer | undefined;
  try {
    const [key, iv] = [derived.subarray(0, KEY_BYTES), derived.subarray(KEY_BYTES, KEY_BYTES + IV_BYTES)];
    const decipher = createDecipheriv('aes-256-cbc', key, iv);
    clear = decipher.update(bytes.subarray(begin));
    const last = decipher.final();
    const whole = Buffer.concat([clear, last]);
    wipe(last);
    return whole;
  } catch (cause) {
    throw new KeyError('KEY_FILE_CORRUPT', 'the passphrase does not decrypt the key file', {
      hint: 'the server reads what this makes: openssl enc -aes-256-cbc -md sha1 -pass file:PASSPHRASE -in keys.txt -out keys.enc',
      cause,
    });
  } finally {
    wipe(derived);
    if (clear !== undefined) wipe(clear);
  }
}

/** OpenSSL's EVP_BytesToKey with SHA-1 and one round. */
function deriveKey(passphrase: Buffer, salt: Buffer): Buffer {
  const digests: Buffer[] = [];
  for (let length = 0; length < KEY_BYTES + IV_BYTES; ) {
    const hash = createHash('sha1');
    const before = digests.at(-1);
    if (before !== undefined) hash.update(before);
    const digest = hash.update(passphrase).update(salt).digest();
    digests.push(digest);
    length += digest.length;
  }
  const derived = Buffer.concat(digests);
  for (const digest of digests) wipe(digest);
  return derived;
}

/**
 * Reads the lines `ID;HEX` of a key file in clear. Ids are decimal, a line that begins with `#` is a comment, the last
 * of several lines with one id counts, and whatever follows the key is ignored.
 * @throws KeyError KEY_FILE_CORRUPT for what the server refuses; it names the line
 */
export function parseKeyFile(bytes: Buffer): FileKeys {
  const keys = new Map<KeyId, Buffer>();
  const lines = new Map<KeyId, number>();
  const warnings: string[] = [];
  try {
    for (const [number, text] of linesOf(bytes)) {
      const line = parseLine(text, number);
      if (line === undefined) continue;
      const earlier = lines.get(line.id);
      if (earlier !== undefined)
        warnings.push(`line ${number}: key ${line.id} comes again: the server uses this one, and not line ${earlier}`);
      if (line.warning !== undefined) warnings.push(`line ${number}: ${line.warning}`);
      const before = keys.get(line.id);
      if (before !== undefined) wipe(before);
      keys.set(line.id, line.key);
      lines.set(line.id, number);
    }
    if (![...keys.keys()].some((id) => id === 1)) throw refused('there is no key 1, which the server needs');
    return { keys, warnings };
  } catch (thrown) {
    for (const key of keys.values()) wipe(key);
    throw thrown;
  }
}

/** A NUL byte ends the file; the last line may lack its LF. */
function* linesOf(bytes: Buffer): Generator<readonly [number: number, text: string]> {
  const nul = bytes.indexOf(0);
  const end = nul < 0 ? bytes.length : nul;
  for (let [at, number] = [0, 1]; at < end; number += 1) {
    const found = bytes.subarray(0, end).indexOf(LF, at);
    const next = found < 0 ? end : found + 1;
    yield [number, bytes.toString('latin1', at, next)];
    at = next;
  }
}

interface KeyLine {
  readonly id: KeyId;
  readonly key: Buffer;
  readonly warning: string | undefined;
}

function parseLine(text: string, number: number): KeyLine | undefined {
  const content = text.replace(/^[ \t\v\f\r]+/, '');
  if (content.startsWith('#') || content.startsWith('\n')) return undefined;
  const bad = (reason: string): KeyError => refused(`line ${number}: ${reason}`);
  if (text.startsWith('\u00ef\u00bb\u00bf')) throw bad('it begins with a byte order mark');
  const [, digits = '', separator = ''] = /^(\d+)(.?)/s.exec(content) ?? [];
  if (digits === '') throw bad('it begins with no key id');
  const id = Number(digits);
  if (!isKeyId(id)) throw bad('its key id is not 1 to 4294967295');
  if (separator !== ';') throw bad('its key id is not followed by a semicolon');
  const rest = content.slice(digits.length + 1);
  const hex = /^[\da-f]*/i.exec(rest)?.[0] ?? '';
  if (hex.length % 2 !== 0 || !LENGTHS.includes(hex.length / 2))
    throw bad(`key ${id}: expected 32, 48 or 64 hexadecimal digits, got ${hex.length}`);
  return { id, key: Buffer.from(hex, 'hex'), warning: warningOf(id, digits, hex.length, rest.slice(hex.length)) };
}

function warningOf(id: KeyId, digits: string, length: number, rest: string): string | undefined {
  const cut = `the server takes ${length} hexadecimal digits`;
  if (/^\S/.test(rest) && length < MAX_DIGITS && /[\da-f]/i.test(rest))
    return `key ${id}: a character is not hexadecimal: ${cut}, ${length * 4} bits, and ignores what follows`;
  return digits.startsWith('0') ? `${digits} is key ${id}: ids are decimal` : undefined;
}

function refused(reason: string): KeyError {
  return new KeyError('KEY_FILE_CORRUPT', `key file of file_key_management: ${reason}`, {
    hint: 'the server refuses this file as well: its lines are ID;HEX, with 32, 48 or 64 hexadecimal digits',
  });
}
