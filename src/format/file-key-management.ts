/**
 * The key file of MariaDB's plugin file_key_management, read as the server reads it: also where the server silently
 * reads something else than was meant, which is then a warning.
 */
import { createDecipheriv, createHash, pbkdf2Sync } from 'node:crypto';
import { wipe } from '../bytes.ts';
import { KeyError } from '../errors.ts';
import { isKeyId, isKeyVersion, type KeyId, type KeyVersion, keyVersion } from '../ids.ts';

/** The most bytes that the server reads of a key file. */
export const MAX_KEY_FILE_BYTES = 1_048_576;
/** The most bytes that a passphrase may have. */
export const MAX_PASSPHRASE_BYTES = 256;

export interface FileKey {
  readonly id: KeyId;
  readonly version: KeyVersion;
  readonly bytes: Buffer;
}

export interface FileKeys {
  readonly keys: readonly FileKey[];
  /** Lines that the server reads otherwise than they look, without saying so. No key bytes. */
  readonly warnings: readonly string[];
}

/** Digests of passphrases, as file_key_management_digest of MariaDB 12.0 names them; earlier releases have sha1 alone. */
export const DIGESTS = ['sha1', 'sha224', 'sha256', 'sha384', 'sha512'] as const;

/** The way from a passphrase to the key of the key file. */
export interface PassphraseUse {
  readonly digest: (typeof DIGESTS)[number];
  /** Rounds of PBKDF2, as file_key_management_use_pbkdf2 of MariaDB 12.0; 0: OpenSSL's EVP_BytesToKey. */
  readonly pbkdf2Rounds: number;
}

/** The only way that MariaDB before 12.0 has. */
export const PASSPHRASE_USE: PassphraseUse = { digest: 'sha1', pbkdf2Rounds: 0 };

const PREFIX = Buffer.from('Salted__');
const SALT_BYTES = 8;
const [KEY_BYTES, IV_BYTES] = [32, 16];
const [CR, LF] = [13, 10];
const LENGTHS: readonly number[] = [16, 24, 32];
const MAX_DIGITS = 64;
/** The only version that MariaDB's community releases have of a key. */
const ONLY_VERSION = keyVersion(1);
/** MariaDB Enterprise Server's `ID;VERSION;HEX`. No version has so many digits that a key could be taken for it. */
const VERSIONED = /^(\d{1,10});(?=[\da-f]{32})/i;

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
 * Decrypts the output of `openssl enc -aes-256-cbc -md DIGEST`, with `-pbkdf2 -iter ROUNDS` where there are rounds. The
 * caller wipes the result.
 * @throws KeyError KEY_FILE_CORRUPT: it is another passphrase, or another digest or cipher was used
 */
export function decryptKeyFile(bytes: Buffer, passphrase: Buffer, use: PassphraseUse = PASSPHRASE_USE): Buffer {
  const begin = PREFIX.length + SALT_BYTES;
  const salt = bytes.subarray(PREFIX.length, begin);
  const derived = deriveKey(passphrase, salt, use);
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
      hint: `the server reads what this makes: openssl enc -aes-256-cbc -md ${use.digest}${use.pbkdf2Rounds > 0 ? ` -pbkdf2 -iter ${use.pbkdf2Rounds}` : ''} -pass file:PASSPHRASE -in keys.txt -out keys.enc`,
      cause,
    });
  } finally {
    wipe(derived);
    if (clear !== undefined) wipe(clear);
  }
}

/** OpenSSL's EVP_BytesToKey with one round, or PBKDF2. */
function deriveKey(passphrase: Buffer, salt: Buffer, { digest: name, pbkdf2Rounds }: PassphraseUse): Buffer {
  if (pbkdf2Rounds > 0) return pbkdf2Sync(passphrase, salt, pbkdf2Rounds, KEY_BYTES + IV_BYTES, name);
  const digests: Buffer[] = [];
  for (let length = 0; length < KEY_BYTES + IV_BYTES; ) {
    const hash = createHash(name);
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
 * Reads the lines `ID;HEX` of a key file in clear, and Enterprise Server's `ID;VERSION;HEX`. Ids are decimal, a line that
 * begins with `#` is a comment, the last of several lines with one id counts, and whatever follows the key is ignored.
 * @throws KeyError KEY_FILE_CORRUPT for what the server refuses; it names the line
 */
export function parseKeyFile(bytes: Buffer): FileKeys {
  const keys = new Map<string, FileKey & { readonly line: number }>();
  const warnings: string[] = [];
  let versioned: number | undefined;
  try {
    for (const [number, text] of linesOf(bytes)) {
      const line = parseLine(text, number);
      if (line === undefined) continue;
      if (line.isVersioned) versioned ??= number;
      const { id, version, bytes: key, warning } = line;
      const name = `${id};${version}`;
      const earlier = keys.get(name);
      if (earlier !== undefined) {
        warnings.push(
          `line ${number}: ${named(line)} comes again: the server uses this one, and not line ${earlier.line}`,
        );
        wipe(earlier.bytes);
      }
      if (warning !== undefined) warnings.push(`line ${number}: ${warning}`);
      keys.set(name, { id, version, bytes: key, line: number });
    }
    if (![...keys.values()].some(({ id }) => id === 1)) throw refused('there is no key 1, which the server needs');
    const nul = bytes.indexOf(0);
    if (nul >= 0 && bytes.subarray(nul).some((byte) => byte !== 0))
      warnings.push('a NUL byte: the server reads nothing of what follows it');
    if (versioned !== undefined)
      warnings.push(
        `line ${versioned}: ID;VERSION;KEY is read as the documentation of MariaDB Enterprise Server describes it: no such server has been compared`,
      );
    const found = [...keys.values()].map(({ id, version, bytes: key }) => ({ id, version, bytes: key }));
    return { keys: found.sort((a, b) => a.id - b.id || a.version - b.version), warnings };
  } catch (thrown) {
    for (const key of keys.values()) wipe(key.bytes);
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

interface KeyLine extends FileKey {
  readonly isVersioned: boolean;
  readonly warning: string | undefined;
}

function named({ id, version, isVersioned }: Pick<KeyLine, 'id' | 'version' | 'isVersioned'>): string {
  return isVersioned ? `key ${id} version ${version}` : `key ${id}`;
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
  const after = content.slice(digits.length + 1);
  const [prefix = '', versionDigits = ''] = VERSIONED.exec(after) ?? [];
  const isVersioned = prefix !== '';
  const version = isVersioned ? Number(versionDigits) : ONLY_VERSION;
  if (!isKeyVersion(version)) throw bad(`key ${id}: its version is not 1 to 4294967294`);
  const name = named({ id, version, isVersioned });
  const rest = after.slice(prefix.length);
  const hex = /^[\da-f]*/i.exec(rest)?.[0] ?? '';
  if (hex.length % 2 !== 0 || !LENGTHS.includes(hex.length / 2))
    throw bad(`${name}: expected 32, 48 or 64 hexadecimal digits, got ${hex.length}`);
  const warning = warningOf(id, name, digits, hex.length, rest.slice(hex.length));
  return { id, version, bytes: Buffer.from(hex, 'hex'), isVersioned, warning };
}

function warningOf(id: KeyId, name: string, digits: string, length: number, rest: string): string | undefined {
  const cut = `the server takes ${length} hexadecimal digits, ${length * 4} bits, and ignores what follows`;
  if (/^\S/.test(rest) && length < MAX_DIGITS && /[\da-f]/i.test(rest))
    return `${name}: a character is not hexadecimal: ${cut}`;
  if (rest.trim() !== '') return `${name}: text stands behind the key: ${cut}`;
  return digits.startsWith('0') ? `${digits} is key ${id}: ids are decimal` : undefined;
}

function refused(reason: string): KeyError {
  return new KeyError('KEY_FILE_CORRUPT', `key file of file_key_management: ${reason}`, {
    hint: 'the server refuses this file as well: its lines are ID;HEX, with 32, 48 or 64 hexadecimal digits',
  });
}
