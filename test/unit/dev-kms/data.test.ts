import {
  CreateKeyCommand,
  DecryptCommand,
  DryRunOperationException,
  EncryptCommand,
  GenerateDataKeyCommand,
  GenerateDataKeyWithoutPlaintextCommand,
  IncorrectKeyException,
  InvalidCiphertextException,
  InvalidKeyUsageException,
  ReEncryptCommand,
} from '@aws-sdk/client-kms';
import { describe, expect, test } from 'vitest';
import { TEST_ACCESS_KEY } from '../../../src/dev-kms/index.ts';
import { ACCOUNT, client, endpoint, expectFault, present } from './endpoint.ts';

const KeyId = 'alias/main';
const FOREIGN =
  'The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.';
const INCORRECT = 'The key ID in the request does not identify a CMK that can perform this operation.';
/** The SDK's text for an answer without a message, with AWS as with the embedded KMS. */
const NO_MESSAGE = 'UnknownError';

async function start() {
  const kms = await endpoint({ aliases: [KeyId] });
  return { kms, sdk: client(kms), arn: present(kms.keyArns[0]) };
}

describe('GenerateDataKey', () => {
  test.each([
    { members: { KeySpec: 'AES_128' as const }, size: 16 },
    { members: { KeySpec: 'AES_256' as const }, size: 32 },
    { members: { NumberOfBytes: 7 }, size: 7 },
    { members: { NumberOfBytes: 1024 }, size: 1024 },
  ])('$members gives $size bytes that Decrypt gives again', async ({ members, size }) => {
    const { sdk, arn } = await start();
    const made = await sdk.send(new GenerateDataKeyCommand({ KeyId, ...members }));
    expect(made.Plaintext).toHaveLength(size);
    expect(made.KeyId).toBe(arn);
    expect(made.KeyMaterialId).toMatch(/^[0-9a-f]{64}$/);
    expect(made.CiphertextForRecipient).toBeUndefined();
    const opened = await sdk.send(new DecryptCommand({ CiphertextBlob: made.CiphertextBlob, KeyId: arn }));
    expect(opened).toMatchObject({
      KeyId: arn,
      EncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
      KeyMaterialId: made.KeyMaterialId,
    });
    expect(opened.Plaintext).toEqual(made.Plaintext);
  });

  test('GenerateDataKeyWithoutPlaintext returns no plaintext', async () => {
    const { sdk, arn } = await start();
    const made = await sdk.send(new GenerateDataKeyWithoutPlaintextCommand({ KeyId, KeySpec: 'AES_256' }));
    expect(Object.keys(made).sort()).toEqual(['$metadata', 'CiphertextBlob', 'KeyId', 'KeyMaterialId']);
    const opened = await sdk.send(new DecryptCommand({ CiphertextBlob: made.CiphertextBlob, KeyId: arn }));
    expect(opened.Plaintext).toHaveLength(32);
    expect(present(opened.Plaintext).some((byte) => byte !== 0)).toBe(true);
  });

  test('GenerateDataKey requires a key spec or a number of bytes', async () => {
    const { sdk } = await start();
    const message = 'Please specify either number of bytes or key spec.';
    await expectFault(sdk.send(new GenerateDataKeyCommand({ KeyId })), 'ValidationException', message);
    await expectFault(
      sdk.send(new GenerateDataKeyWithoutPlaintextCommand({ KeyId, KeySpec: 'AES_256', NumberOfBytes: 32 })),
      'ValidationException',
      message,
    );
    await expectFault(
      sdk.send(new GenerateDataKeyCommand({ KeyId, NumberOfBytes: 0 })),
      'ValidationException',
      "1 validation error detected: Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have value greater than or equal to 1",
    );
    await expectFault(
      sdk.send(new GenerateDataKeyCommand({ KeyId: '', NumberOfBytes: 1025 })),
      'ValidationException',
      "3 validation errors detected: Value '' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1; Value '' at 'keyId' failed to satisfy constraint: Member must satisfy regular expression pattern: ^\\p{ASCII}+$; Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must have value less than or equal to 1024",
    );
  });
});

describe('Encrypt and Decrypt', () => {
  test('the encryption context is authenticated in any order', async () => {
    const { sdk, arn } = await start();
    const Plaintext = Buffer.from('geheim');
    const { CiphertextBlob, ...rest } = await sdk.send(
      new EncryptCommand({ KeyId, Plaintext, EncryptionContext: { a: '1', b: '2' } }),
    );
    expect(rest).toMatchObject({ KeyId: arn, EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' });
    const opened = await sdk.send(new DecryptCommand({ CiphertextBlob, EncryptionContext: { b: '2', a: '1' } }));
    expect(Buffer.from(present(opened.Plaintext))).toEqual(Plaintext);
    for (const EncryptionContext of [
      undefined,
      {},
      { a: '1' },
      { a: '2', b: '1' },
      { A: '1', b: '2' },
      { a: '12', b: '' },
    ]) {
      await expectFault(
        sdk.send(new DecryptCommand({ CiphertextBlob, EncryptionContext })),
        'InvalidCiphertextException',
        NO_MESSAGE,
        InvalidCiphertextException,
      );
    }
  });

  test('Encrypt and Decrypt limit the sizes of texts', async () => {
    const { sdk } = await start();
    const { CiphertextBlob } = await sdk.send(new EncryptCommand({ KeyId, Plaintext: Buffer.alloc(4096, 1) }));
    expect((await sdk.send(new DecryptCommand({ CiphertextBlob }))).Plaintext).toHaveLength(4096);
    const wrong = (member: string, what: string) =>
      `1 validation error detected: Value at '${member}' failed to satisfy constraint: Member must have length ${what}`;
    await expectFault(
      sdk.send(new EncryptCommand({ KeyId, Plaintext: Buffer.alloc(4097) })),
      'ValidationException',
      wrong('plaintext', 'less than or equal to 4096'),
    );
    await expectFault(
      sdk.send(new EncryptCommand({ KeyId, Plaintext: Buffer.alloc(0) })),
      'ValidationException',
      wrong('plaintext', 'greater than or equal to 1'),
    );
    await expectFault(
      sdk.send(new DecryptCommand({ CiphertextBlob: Buffer.alloc(6145) })),
      'ValidationException',
      wrong('ciphertextBlob', 'less than or equal to 6144'),
    );
    await expectFault(
      sdk.send(new DecryptCommand({ CiphertextBlob: undefined })),
      'ValidationException',
      "1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null",
    );
  });

  test('Decrypt refuses a malformed blob', async () => {
    const { sdk } = await start();
    for (const CiphertextBlob of [Buffer.from('AAAA', 'base64'), Buffer.alloc(184, 1), Buffer.alloc(6144, 0xff)]) {
      await expectFault(
        sdk.send(new DecryptCommand({ CiphertextBlob })),
        'InvalidCiphertextException',
        NO_MESSAGE,
        InvalidCiphertextException,
      );
    }
  });

  test('Decrypt refuses a blob of another key, another Region and another KMS', async () => {
    const { kms, sdk } = await start();
    const other = present((await sdk.send(new CreateKeyCommand({}))).KeyMetadata);
    const { CiphertextBlob } = await sdk.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('x') }));
    for (const wrong of [other.KeyId, other.Arn]) {
      await expectFault(
        sdk.send(new DecryptCommand({ CiphertextBlob, KeyId: wrong })),
        'IncorrectKeyException',
        INCORRECT,
        IncorrectKeyException,
      );
    }
    const abroad = client(kms, { region: 'eu-west-1' });
    await expectFault(abroad.send(new DecryptCommand({ CiphertextBlob })), 'AccessDeniedException', FOREIGN);
    const stranger = await start();
    await expectFault(stranger.sdk.send(new DecryptCommand({ CiphertextBlob })), 'AccessDeniedException', FOREIGN);
  });

  test('only the symmetric algorithm is accepted', async () => {
    const { sdk } = await start();
    await expectFault(
      sdk.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('x'), EncryptionAlgorithm: 'RSAES_OAEP_SHA_256' })),
      'InvalidKeyUsageException',
      'Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT.',
      InvalidKeyUsageException,
    );
  });
});

test('ReEncrypt moves a blob to another key and context', async () => {
  const { sdk, arn } = await start();
  const other = present((await sdk.send(new CreateKeyCommand({}))).KeyMetadata);
  const { CiphertextBlob } = await sdk.send(
    new EncryptCommand({ KeyId, Plaintext: Buffer.from('x'), EncryptionContext: { a: '1' } }),
  );
  const source = { CiphertextBlob, SourceEncryptionContext: { a: '1' } };
  const moved = await sdk.send(
    new ReEncryptCommand({ ...source, DestinationKeyId: other.KeyId, DestinationEncryptionContext: { b: '2' } }),
  );
  expect(moved).toMatchObject({
    SourceKeyId: arn,
    KeyId: other.Arn,
    SourceEncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
    DestinationEncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
    DestinationKeyMaterialId: other.CurrentKeyMaterialId,
  });
  const opened = await sdk.send(
    new DecryptCommand({ CiphertextBlob: moved.CiphertextBlob, KeyId: other.Arn, EncryptionContext: { b: '2' } }),
  );
  expect(Buffer.from(present(opened.Plaintext)).toString()).toBe('x');
  await expectFault(
    sdk.send(new ReEncryptCommand({ CiphertextBlob, DestinationKeyId: other.KeyId })),
    'InvalidCiphertextException',
    NO_MESSAGE,
    InvalidCiphertextException,
  );
  await expectFault(
    sdk.send(new ReEncryptCommand({ ...source, SourceKeyId: other.Arn, DestinationKeyId: KeyId })),
    'IncorrectKeyException',
    INCORRECT,
  );
  await expectFault(
    sdk.send(new ReEncryptCommand({ ...source, DestinationKeyId: undefined })),
    'ValidationException',
    "1 validation error detected: Value null at 'destinationKeyId' failed to satisfy constraint: Member must not be null",
  );
});

test('DryRun reports the outcome and changes nothing', async () => {
  const { sdk } = await start();
  const succeeded = 'The request would have succeeded, but the DryRun option is set.';
  const { CiphertextBlob } = await sdk.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('x') }));
  const DryRun = true;
  for (const send of [
    () => sdk.send(new DecryptCommand({ CiphertextBlob, DryRun })),
    () => sdk.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('x'), DryRun })),
    () => sdk.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256', DryRun })),
    () => sdk.send(new GenerateDataKeyWithoutPlaintextCommand({ KeyId, KeySpec: 'AES_256', DryRun })),
    () => sdk.send(new ReEncryptCommand({ CiphertextBlob, DestinationKeyId: KeyId, DryRun })),
    () =>
      sdk.send(
        new DecryptCommand({ KeyId, CiphertextBlob: undefined, DryRun, DryRunModifiers: ['IGNORE_CIPHERTEXT'] }),
      ),
  ]) {
    await expectFault(send(), 'DryRunOperationException', succeeded, DryRunOperationException);
  }
  await expectFault(
    sdk.send(new DecryptCommand({ CiphertextBlob, EncryptionContext: { no: 'way' }, DryRun })),
    'InvalidCiphertextException',
    NO_MESSAGE,
  );
});

test('an access key is denied what its list names', async () => {
  const kms = await endpoint({
    aliases: [KeyId],
    accessKeys: [{ ...TEST_ACCESS_KEY, denied: ['Decrypt', 'ReEncrypt', 'CreateKey'] }],
  });
  const sdk = client(kms);
  const { CiphertextBlob } = await sdk.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from('x') }));
  const denied = (action: string, resource: string) =>
    `User: arn:aws:iam::${ACCOUNT}:user/dev-kms is not authorized to perform: kms:${action} on resource: ${resource} because no identity-based policy allows the kms:${action} action`;
  const arn = present(kms.keyArns[0]);
  await expectFault(sdk.send(new DecryptCommand({ CiphertextBlob })), 'AccessDeniedException', denied('Decrypt', arn));
  await expectFault(
    sdk.send(new ReEncryptCommand({ CiphertextBlob, DestinationKeyId: KeyId })),
    'AccessDeniedException',
    denied('ReEncryptFrom', arn),
  );
  await expectFault(sdk.send(new CreateKeyCommand({})), 'AccessDeniedException', denied('CreateKey', '*'));
});
