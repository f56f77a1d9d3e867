import { execFileSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { KeyFileKeys } from '../../../src/decrypt/key-file.ts';
import { readSmallFile } from '../../../src/disk/small-file.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const HEX = '00112233445566778899aabbccddeeff';

let directory: string;
let file: string;
let secret: string;

beforeEach(() => {
  directory = scratchDirectory();
  file = join(directory, 'keys.txt');
  secret = join(directory, 'secret');
  writeFileSync(file, `1;${HEX}\n1;${HEX}\n`);
  writeFileSync(secret, 'a passphrase\n');
});

function encrypted(): string {
  const path = join(directory, 'keys.enc');
  const options = ['enc', '-aes-256-cbc', '-md', 'sha1', '-pass', `file:${secret}`, '-in', file, '-out', path];
  execFileSync('openssl', options, { stdio: 'ignore' });
  return path;
}

it('a key has version 1 alone, and both algorithms', async () => {
  const keys = await KeyFileKeys.read(file, undefined, readSmallFile);
  const found = await keys.candidates(keyId(1), keyVersion(1));
  expect(found.map(({ bytes, algorithm }) => [Buffer.from(bytes).toString('hex'), algorithm])).toEqual([
    [HEX, 'AES_CBC'],
    [HEX, 'AES_CTR'],
  ]);
  expect(await keys.candidates(keyId(1), keyVersion(2))).toEqual([]);
  expect(await keys.candidates(keyId(2), keyVersion(1))).toEqual([]);
  expect(keys.warnings).toEqual(['line 2: key 1 comes again: the server uses this one, and not line 1']);
  keys.wipe();
  expect(Buffer.from(found[0]?.bytes ?? []).equals(Buffer.alloc(16))).toBe(true);
});

it.each(['', 'FILE:'])('an encrypted key file opens with the passphrase of a file named "%sPATH"', async (prefix) => {
  const keys = await KeyFileKeys.read(encrypted(), { file: `${prefix}${secret}` }, readSmallFile);
  expect(await keys.candidates(keyId(1), keyVersion(1))).toHaveLength(2);
});

it('a passphrase that is missing, superfluous or given in place of its file is an error that does not repeat it', async () => {
  const path = encrypted();
  await expectKeyError(
    () => KeyFileKeys.read(path, undefined, readSmallFile),
    'BAD_OPTION',
    'the key file is encrypted with a passphrase',
  );
  await expectKeyError(
    () => KeyFileKeys.read(file, { file: secret }, readSmallFile),
    'BAD_OPTION',
    '--filekey: the key file is not encrypted',
  );
  await expectKeyError(
    () => KeyFileKeys.read(path, { file: 'a passphrase' }, readSmallFile),
    'KEY_FILE_UNREADABLE',
    '--filekey: cannot read the file that it names: ENOENT',
  );
});

it('a key file that cannot be read is named', async () => {
  const path = join(directory, 'none');
  await expectKeyError(
    () => KeyFileKeys.read(path, undefined, readSmallFile),
    'KEY_FILE_UNREADABLE',
    `--key-file: cannot read ${path}: ENOENT`,
  );
  await expectKeyError(
    () => KeyFileKeys.read(directory, undefined, readSmallFile),
    'KEY_FILE_UNREADABLE',
    `--key-file: cannot read ${directory}: EISDIR`,
  );
  chmodSync(file, 0o600);
  writeFileSync(file, Buffer.alloc(1_048_577));
  await expectKeyError(
    () => KeyFileKeys.read(file, undefined, readSmallFile),
    'KEY_FILE_UNREADABLE',
    `--key-file: cannot read ${file}: EFBIG`,
  );
});
