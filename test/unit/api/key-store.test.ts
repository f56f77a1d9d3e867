import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openKeyStore } from '../../../src/index.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { keyDirectory, MASTER_KEY, startKms } from './lab.ts';

it('a key store lists and reads the files of a directory without asking KMS', async () => {
  const server = await startKms();
  const directory = await keyDirectory(server);
  const calls = server.calls.list().length;
  const store = openKeyStore(directory);
  expect(store.directory).toBe(directory);
  const { stored, lost, strays } = await store.list();
  expect(stored).toEqual([
    { keyId: 1, keyVersion: 1 },
    { keyId: 1, keyVersion: 2 },
    { keyId: 2, keyVersion: 1 },
  ]);
  expect([lost, strays]).toEqual([[], []]);
  const { wrapped, sidecar, sidecarProblem } = await store.read({ keyId: 1, keyVersion: 2 });
  expect(Buffer.from(wrapped)).toEqual(readFileSync(join(directory, 'aws-kms-key.1.2')));
  expect(sidecarProblem).toBeUndefined();
  expect(sidecar).toMatchObject({
    masterKeyArn: server.kms.ensureAlias('us-east-1', MASTER_KEY),
    keySpec: 'AES_128',
    encryptionAlgorithm: 'AES_CTR',
    wrappedSha256: createHash('sha256').update(wrapped).digest('hex'),
  });
  expect(sidecar?.encryptionContext['cluster']).toBe('orders');
  expect(server.calls.list().length).toBe(calls);
});

it('lost keys, strays and unusable sidecars are told apart', async () => {
  const directory = await keyDirectory(await startKms());
  rmSync(join(directory, 'aws-kms-key.2.1'));
  writeFileSync(join(directory, 'aws-kms-key.x'), '');
  writeFileSync(join(directory, 'aws-kms-key.1.1.json'), '{}');
  const store = openKeyStore(directory);
  const { stored, lost, strays } = await store.list();
  expect(stored.map(({ keyId, keyVersion }) => `${keyId}.${keyVersion}`)).toEqual(['1.1', '1.2']);
  expect([lost, strays]).toEqual([[{ keyId: 2, keyVersion: 1 }], ['aws-kms-key.x']]);
  const { sidecar, sidecarProblem } = await store.read({ keyId: 1, keyVersion: 1 });
  expect([sidecar, sidecarProblem?.code]).toEqual([undefined, 'KEY_FILE_CORRUPT']);
});

it('what cannot be read is an error and never empty', async () => {
  const directory = await keyDirectory(await startKms());
  const store = openKeyStore(directory);
  await expectKeyError(store.read({ keyId: 9, keyVersion: 1 }), 'KEY_UNKNOWN', /9/);
  await expectKeyError(
    store.read({ keyId: 0, keyVersion: 1 }),
    'BAD_OPTION',
    /^key id: expected 1 to 4294967295, got 0$/,
  );
  const missing = Reflect.apply(store.read, undefined, []);
  await expectKeyError(missing, 'BAD_OPTION', '"name" expected an object, got undefined');
  await expectKeyError(openKeyStore('/nowhere').list(), 'STORE_UNAVAILABLE', /\/nowhere/);
  await expectKeyError(() => openKeyStore(''), 'BAD_OPTION', /^"directory" expected /);
  writeFileSync(join(directory, 'aws-kms-key.1.1'), '');
  await expectKeyError(store.read({ keyId: 1, keyVersion: 1 }), 'KEY_FILE_CORRUPT', /1/);
});
