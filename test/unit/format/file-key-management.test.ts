/** The server's answers to the same files are in test/integration/file-key-management.test.ts. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  decryptKeyFile,
  isEncryptedKeyFile,
  parseKeyFile,
  passphraseOf,
} from '../../../src/format/file-key-management.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const HEX = '00112233445566778899aabbccddeeff';
const OTHER = 'ffeeddccbbaa99887766554433221100';

function keysOf(text: string): Record<string, string> {
  return Object.fromEntries(
    parseKeyFile(Buffer.from(text, 'latin1')).keys.map(({ id, version, bytes }) => [
      version === 1 ? id : `${id}.${version}`,
      bytes.toString('hex'),
    ]),
  );
}

function warningsOf(text: string): readonly string[] {
  return parseKeyFile(Buffer.from(text, 'latin1')).warnings;
}

it.each([
  ['one line without an end', `1;${HEX}`, { 1: HEX }],
  ['comments, blank lines and CR LF', `# keys\r\n\r\n1;${HEX}\r\n  2;${OTHER}  \r\n`, { 1: HEX, 2: OTHER }],
  [
    'keys of 192 and 256 bits in capitals',
    `1;${HEX}${HEX.slice(0, 16).toUpperCase()}\n2;${HEX}${OTHER}\n`,
    { 1: HEX + HEX.slice(0, 16), 2: HEX + OTHER },
  ],
  ['the highest id', `1;${HEX}\n4294967295;${OTHER}\n`, { 1: HEX, 4294967295: OTHER }],
])('%s: keys are read as the server reads them', (_, text, keys) => {
  expect(keysOf(text)).toEqual(keys);
  expect(warningsOf(text)).toEqual([]);
});

it('the server is silent about a key that is cut, and a warning names its line', () => {
  const text = `1;${HEX}x${OTHER}\n`;
  expect(keysOf(text)).toEqual({ 1: HEX });
  expect(warningsOf(text)).toEqual([
    'line 1: key 1: a character is not hexadecimal: the server takes 32 hexadecimal digits, 128 bits, and ignores what follows',
  ]);
});

it.each([
  [
    `1;${HEX} a note`,
    'line 1: key 1: text stands behind the key: the server takes 32 hexadecimal digits, 128 bits, and ignores what follows',
  ],
  [
    `1;${HEX}${OTHER}xyz`,
    'line 1: key 1: text stands behind the key: the server takes 64 hexadecimal digits, 256 bits, and ignores what follows',
  ],
  [`1;${HEX}\n\0 2;${OTHER}`, 'a NUL byte: the server reads nothing of what follows it'],
])('the server is silent about text that it does not read, and a warning tells of it', (text, warning) => {
  expect(warningsOf(text)).toEqual([warning]);
});

it('the lines of Enterprise Server have versions, and a warning says that they are read by its documentation', () => {
  expect(keysOf(`1;1;${HEX}\n1;2;${OTHER}\n2;10;${HEX}`)).toEqual({ 1: HEX, '1.2': OTHER, '2.10': HEX });
  expect(warningsOf(`1;1;${HEX}\n1;2;${OTHER}\n1;2;${HEX}\n`)).toEqual([
    'line 3: key 1 version 2 comes again: the server uses this one, and not line 2',
    expect.stringMatching(/^line 1: ID;VERSION;KEY is read as the documentation of MariaDB Enterprise Server/),
  ]);
});

it('the last line of an id counts, and a warning names both', () => {
  const text = `1;${HEX}\n# other\n1;${OTHER}\n`;
  expect(keysOf(text)).toEqual({ 1: OTHER });
  expect(warningsOf(text)).toEqual(['line 3: key 1 comes again: the server uses this one, and not line 1']);
});

it('an id with leading zeros is decimal', () => {
  expect(keysOf(`1;${HEX}\n010;${OTHER}\n`)).toEqual({ 1: HEX, 10: OTHER });
  expect(warningsOf(`1;${HEX}\n010;${OTHER}\n`)).toEqual(['line 2: 010 is key 10: ids are decimal']);
});

it.each([
  ['a byte order mark', `\u00ef\u00bb\u00bf1;${HEX}`, 'line 1: it begins with a byte order mark'],
  ['no id', `1;${HEX}\nkey\n`, 'line 2: it begins with no key id'],
  ['blanks without a line end at the end of the file', `1;${HEX}\n  `, 'line 2: it begins with no key id'],
  ['id 0', `0;${HEX}`, 'line 1: its key id is not 1 to 4294967295'],
  ['id 4294967296', `1;${HEX}\n4294967296;${HEX}`, 'line 2: its key id is not 1 to 4294967295'],
  ['a colon', `1:${HEX}`, 'line 1: its key id is not followed by a semicolon'],
  ['33 digits', `1;${HEX}a`, 'line 1: key 1: expected 32, 48 or 64 hexadecimal digits, got 33'],
  ['66 digits', `1;${HEX}${HEX}aa`, 'line 1: key 1: expected 32, 48 or 64 hexadecimal digits, got 66'],
  ['a blank before the key', `1; ${HEX}`, 'line 1: key 1: expected 32, 48 or 64 hexadecimal digits, got 0'],
  ['no key 1', `2;${HEX}`, 'there is no key 1, which the server needs'],
  ['nothing', '', 'there is no key 1, which the server needs'],
])('%s is refused as by the server', async (_, text, reason) => {
  await expectKeyError(
    () => parseKeyFile(Buffer.from(text, 'latin1')),
    'KEY_FILE_CORRUPT',
    `key file of file_key_management: ${reason}`,
  );
});

it('openssl writes what is decrypted, and another passphrase or digest is refused', async () => {
  const directory = scratchDirectory();
  const [clear, secret] = [join(directory, 'keys.txt'), join(directory, 'secret')];
  writeFileSync(clear, `1;${HEX}\n`);
  writeFileSync(secret, 'a passphrase\r\n');
  const encrypt = (digest: string): Buffer =>
    execFileSync('openssl', ['enc', '-aes-256-cbc', '-md', digest, '-pass', 'pass:a passphrase', '-in', clear], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  const bytes = encrypt('sha1');
  expect(isEncryptedKeyFile(bytes)).toBe(true);
  expect(isEncryptedKeyFile(Buffer.from(`1;${HEX}`))).toBe(false);
  const passphrase = passphraseOf(Buffer.from('a passphrase\r\n'));
  expect(decryptKeyFile(bytes, passphrase).toString()).toBe(`1;${HEX}\n`);
  const message = 'the passphrase does not decrypt the key file';
  await expectKeyError(() => decryptKeyFile(bytes, Buffer.from('another')), 'KEY_FILE_CORRUPT', message);
  await expectKeyError(() => decryptKeyFile(encrypt('sha256'), passphrase), 'KEY_FILE_CORRUPT', message);
});

it.each([
  ['sha256', 0],
  ['sha512', 10_000],
] as const)(
  'a passphrase by digest %s and %i rounds of PBKDF2 opens what openssl wrote with them',
  (digest, rounds) => {
    const clear = join(scratchDirectory(), 'keys.txt');
    writeFileSync(clear, `1;${HEX}\n`);
    const options = ['enc', '-aes-256-cbc', '-md', digest, '-pass', 'pass:a passphrase', '-in', clear];
    const bytes = execFileSync('openssl', [...options, ...(rounds > 0 ? ['-pbkdf2', '-iter', `${rounds}`] : [])], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const use = { digest, pbkdf2Rounds: rounds };
    expect(decryptKeyFile(bytes, Buffer.from('a passphrase'), use).toString()).toBe(`1;${HEX}\n`);
  },
);

it.each([
  ['', 0],
  ['\r\n', 0],
  ['x'.repeat(257), 257],
])('a passphrase of an unusable length is refused', async (text, length) => {
  await expectKeyError(
    () => passphraseOf(Buffer.from(text)),
    'KEY_FILE_CORRUPT',
    `passphrase: expected 1 to 256 bytes, got ${length}`,
  );
});
