import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/cli/system.ts';
import { type DevKms, startDevKms, TEST_ACCESS_KEY } from '../../src/dev-kms/index.ts';

/*
 * The AWS CLI, a client that nobody here wrote, takes the embedded KMS for AWS. One call takes it about a second, so
 * calls that do not depend on each other run together.
 */

const ACCOUNT = '111122223333';
const UUID = '[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}';
const TEST_TIMEOUT_MS = 60_000;

let kms: DevKms;
let home: string;
let aws: string;

beforeAll(async () => {
  aws = findAws();
  home = mkdtempSync(join(tmpdir(), 'awscli-'));
  kms = await startDevKms({ clock: systemClock, aliases: ['alias/main'] });
});

afterAll(async () => {
  await kms?.close();
  if (home !== undefined) rmSync(home, { recursive: true, force: true });
});

/** Debian's own before any other: the package is what the project promises to work with. */
function findAws(): string {
  const candidates = ['/usr/bin/aws', ...(process.env['PATH'] ?? '').split(delimiter).map((path) => join(path, 'aws'))];
  const found = candidates.find((path) => existsSync(path));
  if (found === undefined) throw new Error('the AWS CLI is missing: install it (apt-get install awscli)');
  return found;
}

interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Who {
  readonly region?: string;
  readonly secret?: string;
}

function run(args: readonly string[], { region = 'us-east-1', secret }: Who = {}): Promise<Finished> {
  const env = {
    PATH: process.env['PATH'],
    HOME: home,
    AWS_ACCESS_KEY_ID: TEST_ACCESS_KEY.accessKeyId,
    AWS_SECRET_ACCESS_KEY: secret ?? TEST_ACCESS_KEY.secretAccessKey,
    AWS_DEFAULT_REGION: region,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_PAGER: '',
  };
  return new Promise((resolve) => {
    const all = ['kms', ...args, '--endpoint-url', kms.url, '--output', 'json'];
    execFile(aws, all, { env, cwd: home }, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ status, stdout, stderr });
    });
  });
}

async function ok(args: readonly string[], who?: Who): Promise<Record<string, unknown>> {
  const { status, stdout, stderr } = await run(args, who);
  expect({ args, status, stderr }).toEqual({ args, status: 0, stderr: '' });
  if (stdout.trim() === '') return {};
  const answer: unknown = JSON.parse(stdout);
  if (typeof answer !== 'object' || answer === null) throw new Error(`expected a JSON object, got ${stdout}`);
  return Object.fromEntries(Object.entries(answer));
}

async function refused(args: readonly string[], operation: string, name: string, message: string, who?: Who) {
  const { status, stderr, stdout } = await run(args, who);
  expect(status).not.toBe(0);
  expect(stdout).toBe('');
  // Newer versions say "aws: [ERROR]: " before it.
  expect(stderr.trim().replace(/^aws: \[ERROR\]: /, '')).toBe(
    `An error occurred (${name}) when calling the ${operation} operation: ${message}`.trim(),
  );
}

function textOf(answer: Record<string, unknown>, ...path: readonly string[]): string {
  let value: unknown = answer;
  for (const member of path) {
    value =
      typeof value === 'object' && value !== null
        ? Object.entries(value).find(([name]) => name === member)?.[1]
        : undefined;
  }
  if (typeof value !== 'string') throw new Error(`expected text at ${path.join('.')} of ${JSON.stringify(answer)}`);
  return value;
}

function blobFile(name: string, base64: string): string {
  const path = join(home, name);
  writeFileSync(path, Buffer.from(base64, 'base64'));
  return `fileb://${path}`;
}

test('keys and aliases', { timeout: TEST_TIMEOUT_MS }, async () => {
  const created = await ok(['create-key', '--description', 'made by the AWS CLI', '--tags', 'TagKey=a,TagValue=b']);
  const keyId = textOf(created, 'KeyMetadata', 'KeyId');
  expect(keyId).toMatch(new RegExp(`^${UUID}$`));
  const arn = `arn:aws:kms:us-east-1:${ACCOUNT}:key/${keyId}`;
  await ok(['create-alias', '--alias-name', 'alias/cli', '--target-key-id', keyId]);
  const [described, aliases, keys] = await Promise.all([
    ok(['describe-key', '--key-id', 'alias/cli']),
    ok(['list-aliases', '--page-size', '1']),
    ok(['list-keys', '--page-size', '1']),
    refused(
      ['create-alias', '--alias-name', 'alias/cli', '--target-key-id', keyId],
      'CreateAlias',
      'AlreadyExistsException',
      `An alias with the name arn:aws:kms:us-east-1:${ACCOUNT}:alias/cli already exists`,
    ),
  ]);
  expect(described).toMatchObject({
    KeyMetadata: { Arn: arn, Description: 'made by the AWS CLI', KeyState: 'Enabled', MultiRegion: false },
  });
  expect(aliases).toMatchObject({
    Aliases: [{ AliasName: 'alias/cli', TargetKeyId: keyId }, { AliasName: 'alias/main' }],
  });
  expect(keys['Keys']).toContainEqual({ KeyId: keyId, KeyArn: arn });
  expect(keys['Keys']).toHaveLength(2);
});

test('data keys, contexts and refusals', { timeout: TEST_TIMEOUT_MS }, async () => {
  const context = ['--encryption-context', 'server=db 1,purpose=MariaDB'];
  const arn = kms.keyArns[0] ?? '';
  const [dataKey, wrapped, encrypted] = await Promise.all([
    ok(['generate-data-key', '--key-id', 'alias/main', '--key-spec', 'AES_256', ...context]),
    ok(['generate-data-key-without-plaintext', '--key-id', arn, '--key-spec', 'AES_128']),
    ok([
      'encrypt',
      '--key-id',
      arn,
      '--plaintext',
      blobFile('plain', Buffer.from('geheim').toString('base64')),
      ...context,
    ]),
  ]);
  expect(dataKey['KeyId']).toBe(arn);
  expect(wrapped['Plaintext']).toBeUndefined();
  expect(encrypted).toMatchObject({ KeyId: arn, EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' });
  const blob = blobFile('data-key', textOf(dataKey, 'CiphertextBlob'));
  const ciphertext = blobFile('encrypted', textOf(encrypted, 'CiphertextBlob'));
  const [opened, unwrapped, decrypted, moved] = await Promise.all([
    ok(['decrypt', '--ciphertext-blob', blob, '--key-id', arn, ...context]),
    ok(['decrypt', '--ciphertext-blob', blobFile('wrapped', textOf(wrapped, 'CiphertextBlob'))]),
    ok(['decrypt', '--ciphertext-blob', ciphertext, ...context]),
    ok([
      ...['re-encrypt', '--ciphertext-blob', ciphertext, '--source-encryption-context', 'server=db 1,purpose=MariaDB'],
      ...['--destination-key-id', 'alias/main', '--destination-encryption-context', 'server=db 2'],
    ]),
    refused(['decrypt', '--ciphertext-blob', blob], 'Decrypt', 'InvalidCiphertextException', ''),
    refused(
      ['list-keys'],
      'ListKeys',
      'InvalidSignatureException',
      'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.',
      { secret: 'wrong' },
    ),
    refused(
      ['decrypt', '--ciphertext-blob', ciphertext, ...context],
      'Decrypt',
      'AccessDeniedException',
      'The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.',
      { region: 'eu-central-1' },
    ),
    refused(
      ['generate-data-key', '--key-id', 'alias/none', '--key-spec', 'AES_256'],
      'GenerateDataKey',
      'NotFoundException',
      `Alias arn:aws:kms:us-east-1:${ACCOUNT}:alias/none is not found.`,
    ),
  ]);
  expect(opened).toMatchObject({ KeyId: arn, Plaintext: dataKey['Plaintext'] });
  expect(Buffer.from(textOf(unwrapped, 'Plaintext'), 'base64')).toHaveLength(16);
  expect(Buffer.from(textOf(decrypted, 'Plaintext'), 'base64').toString()).toBe('geheim');
  expect(moved).toMatchObject({ SourceKeyId: arn, KeyId: arn });
  const again = kms.kms.decrypt({
    region: 'us-east-1',
    ciphertextBlob: Buffer.from(textOf(moved, 'CiphertextBlob'), 'base64'),
    encryptionContext: { server: 'db 2' },
  });
  expect(Buffer.from(again.plaintext).toString()).toBe('geheim');
});

test('key states', { timeout: TEST_TIMEOUT_MS }, async () => {
  const arn = kms.kms.ensureAlias('us-east-1', 'alias/states');
  const generate = ['generate-data-key-without-plaintext', '--key-id', 'alias/states', '--key-spec', 'AES_256'];
  const operation = 'GenerateDataKeyWithoutPlaintext';
  await ok(['disable-key', '--key-id', arn]);
  await refused(generate, operation, 'DisabledException', `${arn} is disabled.`);
  await ok(['enable-key', '--key-id', arn]);
  const scheduled = await ok(['schedule-key-deletion', '--key-id', arn, '--pending-window-in-days', '7']);
  expect(scheduled).toMatchObject({ KeyId: arn, KeyState: 'PendingDeletion', PendingWindowInDays: 7 });
  await refused(generate, operation, 'KMSInvalidStateException', `${arn} is pending deletion.`);
  expect(await ok(['cancel-key-deletion', '--key-id', arn])).toEqual({ KeyId: arn });
  await refused(generate, operation, 'DisabledException', `${arn} is disabled.`);
});

test('multi-Region keys', { timeout: TEST_TIMEOUT_MS }, async () => {
  const created = await ok(['create-key', '--multi-region']);
  const keyId = textOf(created, 'KeyMetadata', 'KeyId');
  expect(keyId).toMatch(/^mrk-[0-9a-f]{32}$/);
  const replicated = await ok(['replicate-key', '--key-id', keyId, '--replica-region', 'eu-west-1']);
  const replicaArn = `arn:aws:kms:eu-west-1:${ACCOUNT}:key/${keyId}`;
  expect(replicated).toMatchObject({ ReplicaKeyMetadata: { Arn: replicaArn } });
  const made = await ok(['generate-data-key', '--key-id', keyId, '--key-spec', 'AES_256']);
  const blob = blobFile('mrk', textOf(made, 'CiphertextBlob'));
  const opened = await ok(['decrypt', '--ciphertext-blob', blob, '--key-id', replicaArn], { region: 'eu-west-1' });
  expect(opened).toMatchObject({ KeyId: replicaArn, Plaintext: made['Plaintext'] });
});

test('dry run, in the versions that have it', { timeout: TEST_TIMEOUT_MS }, async () => {
  const { status, stderr } = await run([
    'generate-data-key',
    '--key-id',
    'alias/main',
    '--key-spec',
    'AES_256',
    '--dry-run',
  ]);
  expect(status).not.toBe(0);
  const before = kms.calls.list().filter((call) => call.dryRun);
  if (stderr.includes('Unknown options: --dry-run')) {
    expect(before).toEqual([]);
    console.warn(`${aws} has no --dry-run: only the SDK's tests show it`);
    return;
  }
  expect(stderr).toContain(
    'An error occurred (DryRunOperationException) when calling the GenerateDataKey operation: The request would have succeeded, but the DryRun option is set.',
  );
  expect(before).toMatchObject([{ operation: 'GenerateDataKey', error: 'DryRunOperationException' }]);
});
