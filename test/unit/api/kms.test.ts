import { inspect } from 'node:util';
import { expect, it } from 'vitest';
import { TEST_ACCESS_KEY } from '../../../src/dev-kms/index.ts';
import { createKms, type DecryptRequest, type GenerateRequest, type KmsOptions } from '../../../src/index.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { connect, MASTER_KEY, startKms } from './lab.ts';

it('a wrapped key is made, described and unwrapped', async () => {
  const server = await startKms();
  const [kms, encryptionContext] = [await connect(server), { purpose: 'test' }];
  const { arn, state, deletionDate } = await kms.describeKey(MASTER_KEY);
  expect([arn, state, deletionDate]).toEqual([server.keyArns[0], 'Enabled', undefined]);
  const made = await kms.generateDataKeyWithoutPlaintext({ masterKeyId: MASTER_KEY, encryptionContext });
  expect([made.masterKeyArn, made.wrapped.constructor]).toEqual([arn, Uint8Array]);
  const { wrapped } = made;
  using opened = await kms.decrypt({ wrapped, masterKeyArn: arn, encryptionContext });
  expect([opened.plaintext.length, opened.masterKeyArn, opened.servedBy]).toEqual([32, arn, 'us-east-1']);
  expect(opened.requestId).toMatch(/^[0-9a-f-]{36}$/);
  using short = await kms.decrypt({
    wrapped: (await kms.generateDataKeyWithoutPlaintext({ masterKeyId: arn, keySpec: 'AES_128' })).wrapped,
  });
  expect(short.plaintext.length).toBe(16);
});

it('a data key is in no log and no JSON, and zero after its wipe', async () => {
  const kms = await connect(await startKms());
  const { wrapped } = await kms.generateDataKeyWithoutPlaintext({ masterKeyId: MASTER_KEY });
  const opened = await kms.decrypt({ wrapped });
  const { masterKeyArn, requestId, servedBy } = opened;
  expect(inspect(opened, { depth: 9, showHidden: true })).not.toContain('Uint8Array');
  expect(JSON.parse(JSON.stringify(opened))).toEqual({ masterKeyArn, requestId, servedBy });
  expect(opened.plaintext.some((byte) => byte !== 0)).toBe(true);
  opened[Symbol.dispose]();
  expect([...opened.plaintext]).toEqual(Array(32).fill(0));
});

it('a refusal has its code and the name that AWS gives it, and no request', async () => {
  const kms = await connect(await startKms());
  const { wrapped } = await kms.generateDataKeyWithoutPlaintext({
    masterKeyId: MASTER_KEY,
    encryptionContext: { a: 'b' },
  });
  const error = await expectKeyError(kms.decrypt({ wrapped }), 'KMS_CORRUPT', /^data key: KMS Decrypt failed: /);
  expect(error.failure).toMatchObject({ name: 'InvalidCiphertextException', status: 400, group: 'wrapped-key' });
  expect(error.cause).toBeUndefined();
  await expectKeyError(
    kms.describeKey('alias/none'),
    'KMS_OPERATOR',
    /^master key alias\/none: KMS DescribeKey failed/,
  );
});

it('an error shows no secret of the environment', async () => {
  const server = await startKms();
  const secret = TEST_ACCESS_KEY.secretAccessKey;
  server.faults.set([{ kind: 'error', name: 'KMSInvalidStateException', status: 400, message: `told ${secret}` }]);
  const kms = await connect(server);
  const error = await expectKeyError(kms.describeKey(MASTER_KEY), 'KMS_OPERATOR', /told \(hidden\)/);
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(secret);
});

it('a call ends with its time, with the signal of its caller, and with the client', async () => {
  const server = await startKms();
  server.faults.set([{ kind: 'hang' }]);
  const kms = await connect(server);
  await expectKeyError(kms.describeKey(MASTER_KEY, { timeoutMs: 50 }), 'TIMEOUT', /did not succeed within 0\.1 s/);
  const abort = new AbortController();
  const aborted = kms.describeKey(MASTER_KEY, { signal: abort.signal });
  abort.abort(new Error('mine'));
  await expect(aborted).rejects.toThrow('mine');
  await expect(kms.describeKey(MASTER_KEY, { signal: abort.signal })).rejects.toThrow('mine');
  const pending = kms.describeKey(MASTER_KEY);
  kms.close();
  await expectKeyError(pending, 'CLOSED', 'the client of KMS is closed');
  await expectKeyError(kms.describeKey(MASTER_KEY), 'CLOSED', 'the client of KMS is closed');
  kms[Symbol.dispose]();
});

it.each<[object, string | RegExp]>([
  [{ region: 'nowhere' }, /^"region" expected .*, got "nowhere"$/],
  [{ region: '' }, '"region" expected a text that is not empty, got an empty one'],
  [{ endpointURL: 'https://a' }, /^"options" has no member "endpointURL": it has region, endpointUrl, /],
  [{ endpointUrl: 'https://user:hidden@a' }, '"endpointUrl" credentials do not belong into the URL of an endpoint'],
  [{ failoverRegions: 'eu-west-1' }, '"failoverRegions" expected an array'],
  [{ failoverRegions: [{ endpointUrl: 'https://a' }] }, /^"region" expected a text that is not empty, got undefined$/],
  [{ requestTimeoutMs: 2 ** 31 }, '"requestTimeoutMs" expected 1 to 2147483647 milliseconds, got 2147483648'],
])('createKms refuses %j', async (options: KmsOptions, message) => {
  await expectKeyError(createKms(options), 'BAD_OPTION', message);
});

it('calls refuse arguments of a wrong type without showing them', async () => {
  const kms = await connect(await startKms());
  const wrapped = new Uint8Array(100);
  const call = (work: (...args: never[]) => Promise<unknown>, ...args: readonly unknown[]) =>
    Reflect.apply(work, undefined, args);
  const refused: readonly (readonly [Promise<unknown>, string | RegExp])[] = [
    [call(kms.decrypt), '"request" expected an object, got undefined'],
    [call(kms.decrypt, { wrapped: 'c2VjcmV0' }), '"wrapped" expected a Uint8Array, got string'],
    [kms.decrypt({ wrapped: new Uint8Array() } satisfies DecryptRequest), '"wrapped" expected 1 to 6144 bytes, got 0'],
    [call(kms.decrypt, { wrapped, context: {} }), /^"request" has no member "context": /],
    [call(kms.decrypt, { wrapped, masterKeyArn: 7 }), '"masterKeyArn" expected a text that is not empty, got 7'],
    [call(kms.decrypt, { wrapped }, { timeout: 7 }), '"options" has no member "timeout": it has timeoutMs, signal'],
    [kms.generateDataKeyWithoutPlaintext({ masterKeyId: '' } satisfies GenerateRequest), /^"masterKeyId" expected /],
    [
      call(kms.generateDataKeyWithoutPlaintext, { masterKeyId: MASTER_KEY, keySpec: 'AES_192' }),
      '"keySpec" expected AES_128 or AES_256',
    ],
    [call(kms.describeKey, undefined), '"masterKeyId" expected a text that is not empty, got undefined'],
  ];
  for (const [promise, message] of refused) await expectKeyError(promise, 'BAD_OPTION', message);
});
