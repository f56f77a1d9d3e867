import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import { type DataKey, keyCheckValue, openKeyring } from '../../../src/index.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { connect, keyDirectory, startKms } from './lab.ts';

const NAMES = [
  [1, 1],
  [1, 2],
  [2, 1],
] as const;

function sidecarOf(directory: string, id: number, version: number): { readonly keyCheckValue: string } {
  return JSON.parse(readFileSync(join(directory, `aws-kms-key.${id}.${version}.json`), 'utf8'));
}

function picture(directory: string): readonly string[] {
  return readdirSync(directory).map((name) => {
    const { size, mtimeMs, mode } = statSync(join(directory, name));
    return `${name} ${size} ${mtimeMs} ${mode}`;
  });
}

it('a keyring has the data keys that the agent made, and leaves the directory as it was', async () => {
  const server = await startKms();
  const directory = await keyDirectory(server);
  const before = picture(directory);
  using keyring = await openKeyring({ directory, kms: await connect(server) });
  expect(keyring.keys.map((key) => [key.keyId, key.keyVersion])).toEqual(NAMES);
  expect(keyring.failures).toEqual([]);
  for (const [id, version] of NAMES) {
    const key = keyring.get(id, version);
    expect(keyCheckValue(key.bytes)).toBe(sidecarOf(directory, id, version).keyCheckValue);
    expect(key).toMatchObject({ encryptionAlgorithm: 'AES_CTR', keyCheckValue: keyCheckValue(key.bytes) });
  }
  expect(keyring.get(1)).toBe(keyring.get(1, 2));
  expect(keyring.log.map(({ severity }) => severity)).toEqual(['note', 'note', 'note']);
  expect(picture(directory)).toEqual(before);
});

it('neither a log nor JSON nor a copy of a keyring shows a data key', async () => {
  const server = await startKms();
  using keyring = await openKeyring({ directory: await keyDirectory(server), kms: await connect(server) });
  const key = keyring.get(1);
  const shown = [keyring, keyring.keys, key, { ...key }].flatMap((value) => [
    inspect(value, { depth: 9, showHidden: true }),
    JSON.stringify(value),
  ]);
  for (const text of shown) {
    expect(text).not.toContain('Uint8Array');
    expect(text).not.toContain(key.bytes.slice(0, 4).join(','));
    expect(text).not.toContain(key.bytes.slice(0, 4).join(', '));
  }
  expect(JSON.parse(JSON.stringify(key))).toEqual({
    keyId: 1,
    keyVersion: 2,
    encryptionAlgorithm: 'AES_CTR',
    keyCheckValue: key.keyCheckValue,
  });
});

it('a wiped keyring has only zeros and gives no key away', async () => {
  const server = await startKms();
  let kept: DataKey;
  {
    using keyring = await openKeyring({ directory: await keyDirectory(server), kms: await connect(server) });
    kept = keyring.get(2);
    expect(kept.bytes.some((byte) => byte !== 0)).toBe(true);
    keyring.wipe();
    expect(keyring.keys).toEqual([]);
    await expectKeyError(() => keyring.get(2), 'CLOSED', 'key 2: the keyring was wiped');
  }
  expect([...kept.bytes]).toEqual(Array(16).fill(0));
});

it('a keyring says which version is not stored', async () => {
  const server = await startKms();
  using keyring = await openKeyring({ directory: await keyDirectory(server), kms: await connect(server) });
  await expectKeyError(() => keyring.get(9), 'KEY_UNKNOWN', 'key 9 is not stored');
  await expectKeyError(() => keyring.get(1, 3), 'KEY_UNKNOWN', 'key 1 version 3 is not stored');
  await expectKeyError(() => keyring.get(0), 'BAD_OPTION', 'key id: expected 1 to 4294967295, got 0');
  await expectKeyError(() => keyring.get(1, 0), 'BAD_OPTION', 'key version: expected 1 to 4294967294, got 0');
});

it('a version that cannot be unwrapped ends the opening, or is among the failures', async () => {
  const server = await startKms();
  const [directory, kms] = [await keyDirectory(server), await connect(server)];
  writeFileSync(join(directory, 'aws-kms-key.1.2'), Buffer.alloc(99, 7));
  const error = await expectKeyError(
    openKeyring({ directory, kms }),
    'KEYS_FAILED',
    /^a stored key version cannot be /,
  );
  expect(error.failure?.name).toBe('InvalidCiphertextException');
  expect(error.cause).toBeUndefined();
  using keyring = await openKeyring({ directory, kms, allowFailures: true });
  expect(keyring.keys.map((key) => [key.keyId, key.keyVersion])).toEqual([
    [1, 1],
    [2, 1],
  ]);
  expect(keyring.failures.map((failed) => [failed.keyId, failed.keyVersion])).toEqual([[1, 2]]);
  // Never the version before: data would be encrypted with a key that was rotated away.
  await expectKeyError(() => keyring.get(1), 'KEY_FILE_CORRUPT', /aws-kms-key\.1\.2/);
});

it.each([false, true])(
  'an opening ends with its time, its signal and its client; allowFailures: %s',
  async (allowFailures) => {
    const server = await startKms();
    const [directory, kms] = [await keyDirectory(server), await connect(server)];
    server.faults.set([{ kind: 'hang' }]);
    await expectKeyError(openKeyring({ directory, kms, allowFailures, timeoutMs: 100 }), 'TIMEOUT', /within 0\.1 s/);
    const abort = new AbortController();
    const aborted = openKeyring({ directory, kms, allowFailures, signal: abort.signal });
    setTimeout(() => abort.abort(new Error('mine')), 100);
    await expect(aborted).rejects.toThrow(/^mine$/);
    const pending = openKeyring({ directory, kms, allowFailures });
    setTimeout(() => kms.close(), 100);
    await expectKeyError(pending, 'CLOSED', 'the client of KMS is closed');
  },
);

it('a keyring without sidecars needs the context that its keys are bound to', async () => {
  const server = await startKms();
  const [directory, kms] = [await keyDirectory(server), await connect(server)];
  for (const name of readdirSync(directory).filter((file) => file.endsWith('.json')))
    writeFileSync(join(directory, name), '');
  writeFileSync(join(directory, 'aws-kms-key.x'), '');
  await expectKeyError(openKeyring({ directory, kms }), 'KEYS_FAILED', /^3 stored key versions cannot be unwrapped; /);
  using keyring = await openKeyring({ directory, kms, encryptionContext: { cluster: 'orders' } });
  expect(keyring.keys.map((key) => key.encryptionAlgorithm)).toEqual(['AES_CTR', 'AES_CTR', 'AES_CTR']);
  expect(keyring.log).toContainEqual({
    severity: 'warning',
    text: `ignored aws-kms-key.x in ${directory}: not the name of a key file`,
  });
});

it('a keyring takes no option that it does not have, and no other client', async () => {
  const kms = await connect(await startKms());
  const open = (options: object) => Reflect.apply(openKeyring, undefined, [options]);
  const refused: readonly (readonly [object, string | RegExp])[] = [
    [
      { directory: '/a', kms, encryptioncontext: {} },
      /^"options" has no member "encryptioncontext": it has directory, /,
    ],
    [{ directory: '/a', kms, encryptionContext: { cluster: 1 } }, /^"encryptionContext" is malformed: expected /],
    [{ directory: '', kms }, '"directory" expected a text that is not empty, got an empty one'],
    [{ directory: '/a', kms: {} }, '"kms" expected what createKms returned'],
    [{ directory: '/a', kms, timeoutMs: 0 }, '"timeoutMs" expected 1 to 2147483647 milliseconds, got 0'],
  ];
  for (const [options, message] of refused) await expectKeyError(open(options), 'BAD_OPTION', message);
  await expectKeyError(openKeyring({ directory: '/nowhere', kms }), 'STORE_UNAVAILABLE', /\/nowhere/);
});
