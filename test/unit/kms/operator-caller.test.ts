/** Encrypt, the call of an operator's identity that wraps a data key which exists already. */
import { beforeEach, expect, it } from 'vitest';
import { DEFAULT_REGION } from '../../../src/dev-kms/index.ts';
import type { EncryptRequest, GeneratedKey } from '../../../src/kms/client.ts';
import { OperatorCaller } from '../../../src/kms/operator-caller.ts';
import { startDeadline } from '../../../src/kms/retry.ts';
import { EmbeddedClient } from '../../support/embedded-client.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { kmsError, OTHER_ARN } from '../../support/scripted-kms.ts';

const CONTEXT = { cluster: 'orders' };
const PLAINTEXT = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
let clock: FakeClock;
let kms: EmbeddedClient;
let caller: OperatorCaller;

beforeEach(() => {
  clock = new FakeClock();
  kms = new EmbeddedClient(clock, ['alias/a', 'alias/b']);
  caller = new OperatorCaller(kms.client, { clock, random: () => 0.5 });
});

async function wrap(changes: Partial<EncryptRequest> = {}): Promise<GeneratedKey> {
  const deadline = startDeadline(clock, 30_000);
  const request = { masterKeyId: 'alias/a', plaintext: PLAINTEXT, encryptionContext: CONTEXT, ...changes };
  return await clock.runUntil(caller.encrypt('key 1 version 1', request, deadline).finally(() => deadline.cancel()));
}

it.each([16, 24, 32])(
  'a data key of %i bytes is wrapped under an alias and its context alone opens it',
  async (size) => {
    const plaintext = Buffer.alloc(size, 7);
    const { wrapped, masterKeyArn } = await wrap({ plaintext });
    expect(masterKeyArn).toBe(kms.kms.ensureAlias(DEFAULT_REGION, 'alias/a'));
    const request = { wrapped, masterKeyArn, encryptionContext: CONTEXT };
    const signal = new AbortController().signal;
    expect((await kms.client.decrypt(request, signal)).plaintext).toEqual(plaintext);
    const other = { ...request, encryptionContext: {} };
    await expect(kms.client.decrypt(other, signal)).rejects.toThrow();
  },
);

it('a throttled Encrypt is tried again', async () => {
  let calls = 0;
  kms.on = () => {
    calls += 1;
    if (calls < 4) throw kmsError('ThrottlingException');
  };
  await wrap();
  expect(calls).toBe(4);
});

it('a denied Encrypt names the key, the action and the master key', async () => {
  kms.denied = ['Encrypt'];
  await expectKeyError(
    wrap(),
    'KMS_OPERATOR',
    /^key 1 version 1: KMS Encrypt failed: AccessDeniedException: .*kms:Encrypt on resource: arn:aws:kms:/,
  );
});

it.each([
  ['of another master key', { masterKeyId: OTHER_ARN }, undefined, `"KeyId" expected ${OTHER_ARN}, got `],
  ['with the data key in clear', {}, () => Buffer.concat([Buffer.alloc(9), PLAINTEXT]), 'in clear'],
  ['without a wrapped key', {}, () => Buffer.alloc(0), '"CiphertextBlob" expected 1 to 6144 bytes, got 0'],
])('an answer %s is refused', async (_, changes, encrypted, message) => {
  const real = kms.kms.ensureAlias(DEFAULT_REGION, 'alias/a');
  const client = kms.client;
  if (encrypted !== undefined) kms.encrypted = encrypted;
  const lying = {
    ...client,
    encrypt: (request: EncryptRequest, signal: AbortSignal) =>
      client.encrypt({ ...request, masterKeyId: real }, signal),
  };
  caller = new OperatorCaller(lying, { clock, random: () => 0.5 });
  const error = await expectKeyError(wrap(changes), 'KMS_BAD_ANSWER', /^key 1 version 1: KMS in .* answered wrongly/);
  expect(error.message).toContain(message);
  expect(error.message).not.toContain(PLAINTEXT.toString('hex'));
});
