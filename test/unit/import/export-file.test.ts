import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { DataKeys } from '../../../src/decrypt/data-keys.ts';
import type { EncryptionAlgorithm } from '../../../src/format/encryption-algorithm.ts';
import { parseKeyFile } from '../../../src/format/file-key-management.ts';
import type { KeyName } from '../../../src/format/key-file-name.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { exportableKeys, keyFileText, sealKeyFile } from '../../../src/import/export-file.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { scratchDirectory } from '../../support/scratch.ts';

function name(id: number, version = 1): KeyName {
  return { id: keyId(id), version: keyVersion(version) };
}

/** Keys of 16 bytes; the algorithms are those of the ids, by default CBC. */
function keysFor(algorithms: Readonly<Record<number, EncryptionAlgorithm>> = {}): DataKeys {
  return {
    place: 'the key directory /keys',
    candidates: async (id) => [{ bytes: Buffer.alloc(16, id), algorithm: algorithms[id] ?? 'AES_CBC' }],
    wipe: () => undefined,
  };
}

function use(id: number, version = 1) {
  return { keyId: id, version, decrypted: 1, files: 1 };
}

it('version 1 of every key is exported, and later versions that no data needs are left', async () => {
  const found = await exportableKeys([name(1), name(1, 2), name(3)], [use(1), use(3)], keysFor());
  expect(found).toMatchObject({ algorithm: 'AES_CBC', left: [name(1, 2)] });
  const { keys } = parseKeyFile(keyFileText(found.keys));
  expect(keys).toEqual([
    { ...name(1), bytes: Buffer.alloc(16, 1) },
    { ...name(3), bytes: Buffer.alloc(16, 3) },
  ]);
});

it('data under a later version is refused by name, with what to do', async () => {
  const error = await expectKeyError(
    exportableKeys([name(1), name(3), name(3, 2)], [use(1), use(3, 2)], keysFor()),
    'KEY_NOT_ALLOWED',
    'data is under key 3 version 2, and file_key_management has version 1 of a key and no other',
  );
  expect(error.hint).toContain('ENCRYPTION_KEY_ID=N');
});

it('keys of two algorithms are refused by name', async () => {
  await expectKeyError(
    exportableKeys([name(1), name(3)], [use(1), use(3)], keysFor({ 3: 'AES_CTR' })),
    'KEY_NOT_ALLOWED',
    'key 1 is for AES_CBC and key 3 for AES_CTR, and file_key_management has one mode for all',
  );
});

it('a directory without key 1 is refused', async () => {
  await expectKeyError(exportableKeys([name(3)], [use(3)], keysFor()), 'KEY_UNKNOWN', /^key 1 version 1 is not in/);
});

it('openssl opens a sealed key file', () => {
  const path = join(scratchDirectory(), 'keys.enc');
  const text = Buffer.from(`1;${'00'.repeat(16)}\n`);
  writeFileSync(path, sealKeyFile(text, Buffer.from('a passphrase'), Buffer.from('saltsalt')));
  const options = ['enc', '-d', '-aes-256-cbc', '-md', 'sha1', '-pass', 'pass:a passphrase', '-in', path];
  expect(execFileSync('openssl', options, { stdio: ['ignore', 'pipe', 'ignore'] })).toEqual(text);
});
