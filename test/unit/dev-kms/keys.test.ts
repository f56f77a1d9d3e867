import {
  AlreadyExistsException,
  CancelKeyDeletionCommand,
  CreateAliasCommand,
  CreateKeyCommand,
  DecryptCommand,
  DescribeKeyCommand,
  DisabledException,
  DisableKeyCommand,
  EnableKeyCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  InvalidArnException,
  InvalidMarkerException,
  KMSInvalidStateException,
  ListAliasesCommand,
  ListKeysCommand,
  NotFoundException,
  ReplicateKeyCommand,
  ScheduleKeyDeletionCommand,
  UnsupportedOperationException,
} from '@aws-sdk/client-kms';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import { ACCOUNT, client, endpoint, expectFault, present } from './endpoint.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe('CreateKey and DescribeKey', () => {
  test('a key is described as AWS describes it', async () => {
    const sdk = client(await endpoint());
    const { KeyMetadata } = await sdk.send(
      new CreateKeyCommand({
        Description: 'for MariaDB',
        KeySpec: 'SYMMETRIC_DEFAULT',
        KeyUsage: 'ENCRYPT_DECRYPT',
        Policy: '{}',
        Tags: [{ TagKey: 'a', TagValue: 'b' }],
      }),
    );
    const metadata = present(KeyMetadata);
    expect(metadata.KeyId).toMatch(UUID);
    expect(metadata).toEqual({
      AWSAccountId: ACCOUNT,
      KeyId: metadata.KeyId,
      Arn: `arn:aws:kms:us-east-1:${ACCOUNT}:key/${metadata.KeyId}`,
      CreationDate: expect.any(Date),
      Enabled: true,
      Description: 'for MariaDB',
      KeyUsage: 'ENCRYPT_DECRYPT',
      KeyState: 'Enabled',
      Origin: 'AWS_KMS',
      KeyManager: 'CUSTOMER',
      CustomerMasterKeySpec: 'SYMMETRIC_DEFAULT',
      KeySpec: 'SYMMETRIC_DEFAULT',
      EncryptionAlgorithms: ['SYMMETRIC_DEFAULT'],
      MultiRegion: false,
      CurrentKeyMaterialId: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(Math.abs(Date.now() - Number(metadata.CreationDate))).toBeLessThan(10_000);
    const described = await sdk.send(new DescribeKeyCommand({ KeyId: metadata.Arn }));
    expect(described.KeyMetadata).toEqual(metadata);
  });

  test('requests for keys that the embedded KMS does not support are refused', async () => {
    const sdk = client(await endpoint());
    await expectFault(
      sdk.send(new CreateKeyCommand({ KeySpec: 'RSA_2048', KeyUsage: 'ENCRYPT_DECRYPT' })),
      'UnsupportedOperationException',
      'the embedded KMS makes only symmetric encryption keys of its own: this KeySpec is not supported',
      UnsupportedOperationException,
    );
    await expectFault(
      sdk.send(new CreateKeyCommand({ KeyUsage: 'SIGN_VERIFY' })),
      'ValidationException',
      'KeyUsage SIGN_VERIFY is not compatible with KeySpec SYMMETRIC_DEFAULT',
    );
  });

  test('names of missing keys are refused', async () => {
    const sdk = client(await endpoint());
    const unknown = '12345678-1234-1234-1234-123456789012';
    const arn = (resource: string, region = 'us-east-1', account = ACCOUNT) =>
      `arn:aws:kms:${region}:${account}:${resource}`;
    const rows: readonly (readonly [name: string, message: string])[] = [
      [unknown, `Key '${arn(`key/${unknown}`)}' does not exist`],
      [arn(`key/${unknown}`), `Key '${arn(`key/${unknown}`)}' does not exist`],
      [`mrk-${'a'.repeat(32)}`, `Key '${arn(`key/mrk-${'a'.repeat(32)}`)}' does not exist`],
      ['fake-key-id', "Invalid keyId 'fake-key-id'"],
      ['mrk-fake', "Invalid keyId 'mrk-fake'"],
      ['alias/none', `Alias ${arn('alias/none')} is not found.`],
      [arn('alias/none'), `Alias ${arn('alias/none')} is not found.`],
      [arn(`key/${unknown}`, 'eu-west-1'), 'Invalid arn eu-west-1'],
      [arn('alias/none', 'eu-west-1'), 'Invalid arn eu-west-1'],
    ];
    for (const [KeyId, message] of rows) {
      await expectFault(sdk.send(new DescribeKeyCommand({ KeyId })), 'NotFoundException', message, NotFoundException);
    }
    await expectFault(
      sdk.send(new DescribeKeyCommand({ KeyId: arn(`key/${unknown}`, 'us-east-1', '999999999999') })),
      'AccessDeniedException',
      `User: arn:aws:iam::${ACCOUNT}:user/dev-kms is not authorized to perform: kms:DescribeKey on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access`,
    );
    await expectFault(
      sdk.send(new DescribeKeyCommand({ KeyId: 'arn:aws:s3:::bucket' })),
      'InvalidArnException',
      'Invalid arn arn:aws:s3:::bucket',
      InvalidArnException,
    );
    await expectFault(
      sdk.send(new DescribeKeyCommand({ KeyId: 'schlüssel' })),
      'ValidationException',
      "1 validation error detected: Value 'schlüssel' at 'keyId' failed to satisfy constraint: Member must satisfy regular expression pattern: ^\\p{ASCII}+$",
    );
    await expectFault(
      sdk.send(new DescribeKeyCommand({ KeyId: undefined })),
      'ValidationException',
      "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null",
    );
  });
});

test('ListKeys pages through all keys and each Region has its own', async () => {
  const kms = await endpoint();
  const sdk = client(kms);
  const made: string[] = [];
  for (let index = 0; index < 5; index += 1) {
    made.push(present((await sdk.send(new CreateKeyCommand({}))).KeyMetadata?.KeyId));
  }
  const listed: string[] = [];
  const sizes: number[] = [];
  let Marker: string | undefined;
  do {
    const page = await sdk.send(new ListKeysCommand({ Limit: 2, ...(Marker === undefined ? {} : { Marker }) }));
    const keys = present(page.Keys);
    sizes.push(keys.length);
    for (const { KeyId, KeyArn } of keys) {
      listed.push(present(KeyId));
      expect(KeyArn).toBe(`arn:aws:kms:us-east-1:${ACCOUNT}:key/${KeyId}`);
    }
    expect(page.Truncated).toBe(page.NextMarker !== undefined);
    Marker = page.NextMarker;
  } while (Marker !== undefined);
  expect(sizes).toEqual([2, 2, 1]);
  expect(listed).toEqual(made.sort());
  expect((await client(kms, { region: 'eu-central-1' }).send(new ListKeysCommand({}))).Keys).toEqual([]);
  await expectFault(
    sdk.send(new ListKeysCommand({ Marker: 'bm9uc2Vuc2U=' })),
    'InvalidMarkerException',
    'Invalid marker',
    InvalidMarkerException,
  );
  await expectFault(
    sdk.send(new ListKeysCommand({ Limit: 1001 })),
    'ValidationException',
    "1 validation error detected: Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000",
  );
});

describe('key states', () => {
  test('a disabled key refuses operations until it is enabled', async () => {
    const sdk = client(await endpoint());
    const { KeyId, Arn } = present((await sdk.send(new CreateKeyCommand({}))).KeyMetadata);
    const { CiphertextBlob } = await sdk.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('x') }));
    await sdk.send(new DisableKeyCommand({ KeyId }));
    const described = await sdk.send(new DescribeKeyCommand({ KeyId }));
    expect(described.KeyMetadata).toMatchObject({ Enabled: false, KeyState: 'Disabled' });
    for (const send of [
      () => sdk.send(new DecryptCommand({ CiphertextBlob })),
      () => sdk.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('x') })),
      () => sdk.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_128' })),
    ]) {
      await expectFault(send(), 'DisabledException', `${Arn} is disabled.`, DisabledException);
    }
    await sdk.send(new EnableKeyCommand({ KeyId }));
    const { Plaintext } = await sdk.send(new DecryptCommand({ CiphertextBlob }));
    expect(Buffer.from(present(Plaintext)).toString()).toBe('x');
  });

  test('a key that waits for its deletion refuses operations, and is disabled after a cancellation', async () => {
    const sdk = client(await endpoint());
    const { KeyId, Arn } = present((await sdk.send(new CreateKeyCommand({}))).KeyMetadata);
    const { CiphertextBlob } = await sdk.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('x') }));
    await expectFault(
      sdk.send(new CancelKeyDeletionCommand({ KeyId })),
      'KMSInvalidStateException',
      `${Arn} is not pending deletion.`,
      KMSInvalidStateException,
    );
    await expectFault(
      sdk.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 6 })),
      'ValidationException',
      "1 validation error detected: Value '6' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value greater than or equal to 7",
    );
    const scheduled = await sdk.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 }));
    expect(scheduled).toMatchObject({ KeyId: Arn, KeyState: 'PendingDeletion', PendingWindowInDays: 7 });
    expect(Number(scheduled.DeletionDate) - Date.now()).toBeGreaterThan(6.9 * 86_400_000);
    const message = `${Arn} is pending deletion.`;
    const refused = [
      () => sdk.send(new DecryptCommand({ CiphertextBlob })),
      () => sdk.send(new EnableKeyCommand({ KeyId })),
      () => sdk.send(new DisableKeyCommand({ KeyId })),
      () => sdk.send(new ScheduleKeyDeletionCommand({ KeyId })),
      () => sdk.send(new CreateAliasCommand({ AliasName: 'alias/late', TargetKeyId: KeyId })),
    ];
    for (const send of refused)
      await expectFault(send(), 'KMSInvalidStateException', message, KMSInvalidStateException);
    expect((await sdk.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata).toMatchObject({
      Enabled: false,
      KeyState: 'PendingDeletion',
      DeletionDate: scheduled.DeletionDate,
    });
    expect((await sdk.send(new CancelKeyDeletionCommand({ KeyId }))).KeyId).toBe(Arn);
    expect((await sdk.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata?.KeyState).toBe('Disabled');
  });

  test('after its deletion date a key is gone with its aliases, and its ciphertexts are refused', async () => {
    let offsetMs = 0;
    const kms = await endpoint({
      clock: { ...systemClock, wallMs: () => Date.now() + offsetMs },
      aliases: ['alias/mortal'],
    });
    // Moves the signature's clock with the endpoint's.
    const later = () => client(kms, { systemClockOffset: offsetMs });
    const arn = present(kms.keyArns[0]);
    const { CiphertextBlob } = await later().send(
      new EncryptCommand({ KeyId: 'alias/mortal', Plaintext: Buffer.from('x') }),
    );
    await later().send(new ScheduleKeyDeletionCommand({ KeyId: arn }));
    offsetMs = 30 * 86_400_000 + 1000;
    await expectFault(
      later().send(new DecryptCommand({ CiphertextBlob })),
      'AccessDeniedException',
      'The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.',
    );
    await expectFault(
      later().send(new DescribeKeyCommand({ KeyId: arn })),
      'NotFoundException',
      `Key '${arn}' does not exist`,
    );
    expect((await later().send(new ListAliasesCommand({}))).Aliases).toEqual([]);
  });

  test('operations on keys accept no alias', async () => {
    const sdk = client(await endpoint({ aliases: ['alias/a'] }));
    const message = 'Key Aliases are not supported for this operation.';
    const KeyId = 'alias/a';
    await expectFault(sdk.send(new DisableKeyCommand({ KeyId })), 'InvalidArnException', message, InvalidArnException);
    await expectFault(sdk.send(new ScheduleKeyDeletionCommand({ KeyId })), 'InvalidArnException', message);
  });
});

describe('multi-Region keys', () => {
  test('replicas share only id and material', async () => {
    const kms = await endpoint();
    const [east, west] = [client(kms), client(kms, { region: 'eu-west-1' })];
    const primary = present((await east.send(new CreateKeyCommand({ MultiRegion: true }))).KeyMetadata);
    const KeyId = present(primary.KeyId);
    const EncryptionContext = { purpose: 'test' };
    expect(KeyId).toMatch(/^mrk-[0-9a-f]{32}$/);
    const replicated = await east.send(
      new ReplicateKeyCommand({ KeyId, ReplicaRegion: 'eu-west-1', Description: 'replica' }),
    );
    const replica = present(replicated.ReplicaKeyMetadata);
    expect(replica).toMatchObject({
      KeyId,
      Arn: `arn:aws:kms:eu-west-1:${ACCOUNT}:key/${KeyId}`,
      Description: 'replica',
      MultiRegion: true,
      CurrentKeyMaterialId: primary.CurrentKeyMaterialId,
      MultiRegionConfiguration: {
        MultiRegionKeyType: 'REPLICA',
        PrimaryKey: { Arn: primary.Arn, Region: 'us-east-1' },
        ReplicaKeys: [{ Arn: `arn:aws:kms:eu-west-1:${ACCOUNT}:key/${KeyId}`, Region: 'eu-west-1' }],
      },
    });
    expect((await east.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata?.MultiRegionConfiguration).toMatchObject({
      MultiRegionKeyType: 'PRIMARY',
      ReplicaKeys: [{ Region: 'eu-west-1' }],
    });

    const sealed = await east.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('m'), EncryptionContext }));
    const { CiphertextBlob } = sealed;
    const opened = await west.send(
      new DecryptCommand({ CiphertextBlob, KeyId: present(replica.Arn), EncryptionContext }),
    );
    expect(opened.KeyId).toBe(replica.Arn);
    expect(Buffer.from(present(opened.Plaintext)).toString()).toBe('m');

    await east.send(new DisableKeyCommand({ KeyId }));
    expect((await west.send(new DecryptCommand({ CiphertextBlob, EncryptionContext }))).KeyId).toBe(replica.Arn);
    await expectFault(
      east.send(new DecryptCommand({ CiphertextBlob, EncryptionContext })),
      'DisabledException',
      `${primary.Arn} is disabled.`,
    );
    await expectFault(
      client(kms, { region: 'us-west-2' }).send(new DecryptCommand({ CiphertextBlob, EncryptionContext })),
      'AccessDeniedException',
      'The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.',
    );
    await east.send(new EnableKeyCommand({ KeyId }));
    await expectFault(
      east.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: 'eu-west-1' })),
      'AlreadyExistsException',
      `${replica.Arn} already exists`,
      AlreadyExistsException,
    );
  });

  test('a primary key is deleted only after its replicas', async () => {
    const kms = await endpoint();
    const [east, west] = [client(kms), client(kms, { region: 'eu-west-1' })];
    const { KeyId, Arn } = present((await east.send(new CreateKeyCommand({ MultiRegion: true }))).KeyMetadata);
    await east.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: 'eu-west-1' }));
    const scheduled = await east.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 }));
    expect(scheduled).toMatchObject({ KeyId: Arn, KeyState: 'PendingReplicaDeletion', PendingWindowInDays: 7 });
    expect(scheduled.DeletionDate).toBeUndefined();
    expect((await west.send(new DescribeKeyCommand({ KeyId }))).KeyMetadata?.KeyState).toBe('Enabled');
  });

  test('only a primary multi-Region key is replicated', async () => {
    const kms = await endpoint();
    const [east, west] = [client(kms), client(kms, { region: 'eu-west-1' })];
    const single = present((await east.send(new CreateKeyCommand({}))).KeyMetadata);
    await expectFault(
      east.send(new ReplicateKeyCommand({ KeyId: single.KeyId, ReplicaRegion: 'eu-west-1' })),
      'UnsupportedOperationException',
      `${single.Arn} is not a multi-Region key.`,
      UnsupportedOperationException,
    );
    const { KeyId } = present((await east.send(new CreateKeyCommand({ MultiRegion: true }))).KeyMetadata);
    await east.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: 'eu-west-1' }));
    await expectFault(
      west.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: 'us-west-2' })),
      'UnsupportedOperationException',
      `arn:aws:kms:eu-west-1:${ACCOUNT}:key/${KeyId} is not a multi-Region primary key.`,
    );
  });
});
