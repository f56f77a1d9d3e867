import { expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import { TEST_ACCESS_KEY } from '../../../src/dev-kms/index.ts';
import { createKmsInspector } from '../../../src/kms/aws/inspector.ts';
import { DRY_RUN_ACTIONS, type DryRun, type KmsInspector } from '../../../src/kms/inspect.ts';
import { Secrets } from '../../../src/secrets.ts';
import { IDENTITY } from '../../support/identity-sts.ts';
import { cleanUp } from '../../support/scratch.ts';
import { caught, endpoint } from '../dev-kms/endpoint.ts';

const ALIAS = 'alias/main';
const signal = new AbortController().signal;

async function inspect(
  endpointUrl: string,
  changes: Partial<Parameters<typeof createKmsInspector>[0]> = {},
): Promise<KmsInspector> {
  vi.stubEnv('AWS_ACCESS_KEY_ID', TEST_ACCESS_KEY.accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', TEST_ACCESS_KEY.secretAccessKey);
  cleanUp(() => void vi.unstubAllEnvs());
  const inspector = await createKmsInspector({
    region: 'us-east-1',
    endpointUrl,
    stsEndpointUrl: '',
    timeoutMs: 2_000,
    sharedFiles: undefined,
    environment: process.env,
    trustedCertificates: undefined,
    secrets: new Secrets(),
    clock: systemClock,
    ...changes,
  });
  cleanUp(() => inspector.close());
  return inspector;
}

function dryRunOf(action: DryRun['action']): DryRun {
  return { action, keyId: ALIAS, context: { a: 'b' }, keySpec: 'AES_128', wrapped: undefined, principal: IDENTITY };
}

it.each(DRY_RUN_ACTIONS.filter((action) => action !== 'CreateGrant' && action !== 'ReEncrypt'))(
  'tells whether %s is allowed, and does nothing',
  async (action) => {
    const kms = await endpoint({ aliases: [ALIAS] });
    const inspector = await inspect(kms.url);
    await inspector.dryRun(dryRunOf(action), signal);
    expect(kms.calls.list()).toMatchObject([{ operation: action, dryRun: true, error: 'DryRunOperationException' }]);
    const refusing = await endpoint({ aliases: [ALIAS], accessKeys: [{ ...TEST_ACCESS_KEY, denied: [action] }] });
    const error = await caught((await inspect(refusing.url)).dryRun(dryRunOf(action), signal));
    expect(error.name).toBe('AccessDeniedException');
  },
);

it('dry runs cover grants and re-encryption', async () => {
  const kms = await endpoint({ aliases: [ALIAS] });
  const [keyId = ''] = kms.keyArns;
  const inspector = await inspect(kms.url);
  await inspector.dryRun({ ...dryRunOf('CreateGrant'), keyId }, signal);
  const { ciphertextBlob } = kms.kms.generateDataKeyWithoutPlaintext({
    region: 'us-east-1',
    keyId,
    keySpec: 'AES_128',
    encryptionContext: { a: 'b' },
  });
  await inspector.dryRun({ ...dryRunOf('ReEncrypt'), wrapped: ciphertextBlob }, signal);
  const other = { ...dryRunOf('Decrypt'), wrapped: ciphertextBlob, context: { a: 'c' } };
  expect((await caught(inspector.dryRun(other, signal))).name).toBe('InvalidCiphertextException');
});

it('the inspector wraps a data key that exists already', async () => {
  const kms = await endpoint({ aliases: [ALIAS] });
  const inspector = await inspect(kms.url);
  const plaintext = Buffer.alloc(24, 7);
  const encryptionContext = { a: 'b' };
  const { wrapped, masterKeyArn, requestId } = await inspector.encrypt(
    { masterKeyId: ALIAS, plaintext, encryptionContext },
    signal,
  );
  expect([masterKeyArn, requestId]).toEqual([kms.keyArns[0], kms.calls.list()[0]?.requestId]);
  expect((await inspector.decrypt({ wrapped, masterKeyArn, encryptionContext }, signal)).plaintext).toEqual(plaintext);
});

it('the inspector reads state, rotation and policy of a key', async () => {
  const kms = await endpoint({ aliases: [ALIAS] });
  const inspector = await inspect(kms.url);
  const key = await inspector.describeKey(ALIAS, signal);
  expect(key).toMatchObject({ arn: kms.keyArns[0], state: 'Enabled', usage: 'ENCRYPT_DECRYPT', members: [] });
  expect(await inspector.rotation(key.arn, signal)).toEqual({ isEnabled: false, days: undefined });
  const call = (operation: string, input: unknown) =>
    kms.kms.call('us-east-1', { accessKeyId: '', denied: [] }, operation, input);
  call('EnableKeyRotation', { KeyId: key.arn, RotationPeriodInDays: 100 });
  expect(await inspector.rotation(key.arn, signal)).toEqual({ isEnabled: true, days: 100 });
  call('DisableKeyRotation', { KeyId: key.arn });
  expect(await inspector.rotation(key.arn, signal)).toEqual({ isEnabled: false, days: undefined });
  expect(JSON.parse(await inspector.keyPolicy(key.arn, signal))).toMatchObject({
    Statement: [{ Principal: { AWS: 'arn:aws:iam::111122223333:root' }, Action: 'kms:*' }],
  });
});

it('the inspector reaches KMS without credentials, and recognises a proxy', async () => {
  const kms = await endpoint();
  const reached = await (await inspect(kms.url)).reach(signal);
  expect(reached.requestId).toMatch(/^[0-9a-f-]{36}$/);
  expect(Math.abs((reached.dateMs ?? 0) - Date.now())).toBeLessThan(10_000);
  expect(kms.calls.list()).toMatchObject([{ error: 'MissingAuthenticationTokenException', accessKeyId: '' }]);
  const missing = await inspect('http://127.0.0.1:9');
  expect(await caught(missing.reach(signal))).toMatchObject({ code: 'ECONNREFUSED' });
});

it.each([
  ['https://vpce-1.kms.us-east-1.vpce.amazonaws.com', ''],
  ['https://kms-fips.us-east-1.amazonaws.com', ''],
  ['http://127.0.0.1:4566', 'http://127.0.0.1:4566'],
  ['', ''],
])('the inspector calls another Region at its own endpoint: %s', async (url, other) => {
  const inspector = await inspect(url);
  expect(inspector.inRegion('eu-west-1')).toMatchObject({ region: 'eu-west-1', endpointUrl: other });
  expect(inspector.inRegion('us-east-1').endpointUrl).toBe(url);
});
