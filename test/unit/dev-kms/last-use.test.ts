import {
  CreateKeyCommand,
  DecryptCommand,
  EncryptCommand,
  GenerateDataKeyWithoutPlaintextCommand,
  GetKeyLastUsageCommand,
  InvalidArnException,
  type KMSClient,
  NotFoundException,
  ReEncryptCommand,
  ReplicateKeyCommand,
} from '@aws-sdk/client-kms';
import { expect, test } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import { caught, client, endpoint, expectFault, present, REQUEST_ID } from './endpoint.ts';

const KeyId = 'alias/main';

async function start() {
  let laterMs = 0;
  const clock = { ...systemClock, wallMs: () => systemClock.wallMs() + laterMs };
  const kms = await endpoint({ clock, aliases: [KeyId, 'alias/other'] });
  const [arn, other] = kms.keyArns;
  const later = (ms: number): void => {
    laterMs = ms;
  };
  return { kms, sdk: client(kms), arn: present(arn), other: present(other), later };
}

async function lastUse(sdk: KMSClient, arn: string) {
  const answer = await sdk.send(new GetKeyLastUsageCommand({ KeyId: arn }));
  return { ...answer, use: present(answer.KeyLastUsage) };
}

test('an unused key has an empty record, with the start of the tracking', async () => {
  const { sdk, arn } = await start();
  const { use, KeyId: id, KeyCreationDate: made, TrackingStartDate: since } = await lastUse(sdk, arn);
  expect(use).toEqual({});
  expect(arn.endsWith(`key/${id}`)).toBe(true);
  expect(Math.abs(Date.now() - Number(made))).toBeLessThan(60_000);
  expect(Number(since)).toBeGreaterThanOrEqual(Number(made));
});

test('each successful operation is recorded as the last use, with its request and its time', async () => {
  const { kms, sdk, arn, other, later } = await start();
  const made = await sdk.send(new GenerateDataKeyWithoutPlaintextCommand({ KeyId, KeySpec: 'AES_128' }));
  expect((await lastUse(sdk, arn)).use).toMatchObject({
    Operation: 'GenerateDataKeyWithoutPlaintext',
    KmsRequestId: made.$metadata.requestId,
    CloudTrailEventId: expect.stringMatching(REQUEST_ID),
  });
  later(3000);
  const CiphertextBlob = present(made.CiphertextBlob);
  const opened = await sdk.send(new DecryptCommand({ CiphertextBlob }));
  const { use } = await lastUse(sdk, arn);
  expect(use).toMatchObject({ Operation: 'Decrypt', KmsRequestId: opened.$metadata.requestId });
  expect(Number(use.Timestamp)).toBeGreaterThan(Date.now());
  await sdk.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('x') }));
  expect((await lastUse(sdk, arn)).use.Operation).toBe('Encrypt');
  expect((await lastUse(sdk, other)).use).toEqual({});
  await sdk.send(new ReEncryptCommand({ CiphertextBlob, DestinationKeyId: 'alias/other' }));
  for (const key of [arn, other]) expect((await lastUse(sdk, key)).use.Operation).toBe('ReEncrypt');
  expect(kms.calls.list().at(-1)).toMatchObject({ operation: 'GetKeyLastUsage', status: 200 });
});

test('neither a dry run nor a refusal counts as a use', async () => {
  const { sdk, arn, later } = await start();
  const { CiphertextBlob } = await sdk.send(new GenerateDataKeyWithoutPlaintextCommand({ KeyId, KeySpec: 'AES_128' }));
  const { use } = await lastUse(sdk, arn);
  later(2 * 60_000);
  expect((await caught(sdk.send(new DecryptCommand({ CiphertextBlob, DryRun: true })))).name).toBe(
    'DryRunOperationException',
  );
  await caught(sdk.send(new GenerateDataKeyWithoutPlaintextCommand({ KeyId, KeySpec: 'AES_128', DryRun: true })));
  await caught(sdk.send(new ReEncryptCommand({ CiphertextBlob, DestinationKeyId: KeyId, DryRun: true })));
  await caught(sdk.send(new DecryptCommand({ CiphertextBlob, EncryptionContext: { not: 'its' } })));
  expect((await lastUse(sdk, arn)).use).toEqual(use);
});

test('each replica of a multi-Region key counts for itself', async () => {
  const { kms, sdk } = await start();
  const { KeyMetadata } = await sdk.send(new CreateKeyCommand({ MultiRegion: true }));
  const { Arn: arn = '', KeyId: id = '' } = present(KeyMetadata);
  await sdk.send(new ReplicateKeyCommand({ KeyId: id, ReplicaRegion: 'eu-west-1' }));
  const there = client(kms, { region: 'eu-west-1' });
  const { CiphertextBlob } = await sdk.send(
    new GenerateDataKeyWithoutPlaintextCommand({ KeyId: id, NumberOfBytes: 16 }),
  );
  expect((await lastUse(there, id)).use).toEqual({});
  await there.send(new DecryptCommand({ CiphertextBlob }));
  expect((await lastUse(there, id)).use.Operation).toBe('Decrypt');
  expect((await lastUse(sdk, arn)).use.Operation).toBe('GenerateDataKeyWithoutPlaintext');
});

test('a key created later is tracked from its creation', async () => {
  const { sdk, later } = await start();
  later(60_000);
  const { KeyMetadata } = await sdk.send(new CreateKeyCommand({}));
  const { KeyCreationDate, TrackingStartDate } = await lastUse(sdk, present(KeyMetadata?.Arn));
  expect(TrackingStartDate).toEqual(KeyCreationDate);
  expect(Number(KeyCreationDate)).toBeGreaterThan(Date.now());
});

test('GetKeyLastUsage accepts a key, not an alias, and needs a permission', async () => {
  const { kms, sdk, arn } = await start();
  await expectFault(
    sdk.send(new GetKeyLastUsageCommand({ KeyId })),
    'InvalidArnException',
    'Key Aliases are not supported for this operation.',
    InvalidArnException,
  );
  const unknown = '12345678-1234-1234-1234-123456789012';
  expect(await caught(sdk.send(new GetKeyLastUsageCommand({ KeyId: unknown })))).toBeInstanceOf(NotFoundException);
  expect(() =>
    kms.kms.call('us-east-1', { accessKeyId: '', denied: ['GetKeyLastUsage'] }, 'GetKeyLastUsage', { KeyId: arn }),
  ).toThrow(/not authorized to perform: kms:GetKeyLastUsage/);
});
