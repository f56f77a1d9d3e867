import { beforeEach, expect, it } from 'vitest';
import { KeyDirectoryKeys } from '../../../src/decrypt/key-directory.ts';
import type { EncryptionContext } from '../../../src/format/encryption-context.ts';
import type { KeyName } from '../../../src/format/key-file-name.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { KeyDirectory } from '../../../src/keystore/directory.ts';
import { keysNamedBy } from '../../../src/keystore/failures.ts';
import { KmsCaller } from '../../../src/kms/caller.ts';
import { EmbeddedClient } from '../../support/embedded-client.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs } from '../../support/memory-fs.ts';
import { kmsError } from '../../support/scripted-kms.ts';
import { storeKey } from '../../support/stored-keys.ts';

const OBSERVER = { attemptStarted: () => undefined, attemptEnded: () => undefined };
const CONTEXT = { cluster: 'orders' };

let clock: FakeClock;
let kms: EmbeddedClient;
let fs: MemoryFs;
let connections: number;

beforeEach(() => {
  clock = new FakeClock();
  kms = new EmbeddedClient(clock, ['alias/a']);
  fs = new MemoryFs();
  connections = 0;
});

function name(id: number, version = 1): KeyName {
  return { id: keyId(id), version: keyVersion(version) };
}

function source(context: EncryptionContext = {}): KeyDirectoryKeys {
  return new KeyDirectoryKeys({
    store: new KeyDirectory('/keys', fs, clock, () => 0.5, keysNamedBy('--keyfile-dir')),
    context,
    clock,
    connect: async () => {
      connections += 1;
      return new KmsCaller([kms.client], clock, () => 0.5, OBSERVER);
    },
  });
}

it('each version is unwrapped once, when it is asked for, with the algorithm of its context', async () => {
  const cbc = storeKey(fs, kms, name(7));
  const ctr = storeKey(fs, kms, name(7, 2), { algorithm: 'AES_CTR', sidecar: false, configured: CONTEXT });
  const keys = source(CONTEXT);
  expect(connections).toBe(0);
  const both = [keys.candidates(keyId(7), keyVersion(1)), keys.candidates(keyId(7), keyVersion(1))];
  const [first, again] = await Promise.all(both);
  expect(first).toEqual([{ bytes: cbc, algorithm: 'AES_CBC' }]);
  expect(again).toBe(first);
  expect(kms.calls).toHaveLength(1);
  expect(await keys.candidates(keyId(7), keyVersion(2))).toEqual([{ bytes: ctr, algorithm: 'AES_CTR' }]);
  expect(connections).toBe(1);
  keys.wipe();
  expect(first?.[0]?.bytes).toEqual(Buffer.alloc(16));
});

it('a version that is not stored has no candidates and calls nobody', async () => {
  const keys = source();
  expect(await keys.candidates(keyId(7), keyVersion(1))).toEqual([]);
  expect(connections).toBe(0);
  expect(keys.place).toBe('the key directory /keys');
});

it('a refusal of KMS names the key, the version and its own words', async () => {
  storeKey(fs, kms, name(7, 3));
  kms.on = () => {
    throw kmsError('AccessDeniedException', 'User is not authorized', 400);
  };
  const error = await expectKeyError(
    () => source().candidates(keyId(7), keyVersion(3)),
    'KMS_OPERATOR',
    /^key 7 version 3 \(file aws-kms-key\.7\.3\): KMS Decrypt failed: AccessDeniedException: User is not authorized/,
  );
  expect(error.hint).toContain('kms:Decrypt');
});

it('a key that arrives after the wiping is wiped', async () => {
  storeKey(fs, kms, name(7));
  const keys = source();
  const asked = keys.candidates(keyId(7), keyVersion(1));
  keys.wipe();
  expect((await asked)[0]?.bytes).toEqual(Buffer.alloc(16));
});
