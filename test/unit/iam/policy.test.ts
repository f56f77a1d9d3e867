import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { policyCommand } from '../../../src/cli/policy.ts';
import type { KeyError } from '../../../src/errors.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const KEY = 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
const OLDER = 'arn:aws:kms:eu-central-1:111122223333:key/00000000-12ab-34cd-56ef-1234567890ab';
const MULTI = 'arn:aws:kms:eu-central-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef';
const ROLE = 'arn:aws:iam::111122223333:role/mariadb';

async function print(
  ...options: readonly string[]
): Promise<{ readonly document: unknown; readonly notes: readonly string[] }> {
  const stdout: string[] = [];
  const stderr: string[] = [];
  const io = { stdout: (line: string) => stdout.push(line), stderr: (line: string) => stderr.push(line) };
  await policyCommand(io).exitOverride().parseAsync(options, { from: 'user' });
  const document: unknown = JSON.parse(stdout.join('\n'));
  expectAcceptable(document);
  return { document, notes: stderr.map((line) => line.replace('mariadb-aws-kms: note: ', '')) };
}

it('the IAM policy is the smallest that the server needs', async () => {
  expect(await print('--master-key-arn', KEY)).toEqual({
    document: {
      Version: '2012-10-17',
      Statement: [
        {
          Sid: 'MariaDBDataKeys',
          Effect: 'Allow',
          Action: ['kms:GenerateDataKeyWithoutPlaintext', 'kms:Decrypt'],
          Resource: KEY,
        },
      ],
    },
    notes: [],
  });
});

it('the policy of the operator who imports keys has other actions than that of the server', async () => {
  const use = { Sid: 'MariaDBImport', Effect: 'Allow', Action: ['kms:Encrypt', 'kms:Decrypt'] };
  const { document } = await print('--for', 'import', '--master-key-arn', KEY);
  expect(document).toEqual({ Version: '2012-10-17', Statement: [{ ...use, Resource: KEY }] });
  const { document: ofKey } = await print('--for', 'import', '--kind', 'key', '--principal', ROLE);
  expect(ofKey).toMatchObject({ Statement: [{}, { ...use, Principal: { AWS: ROLE }, Resource: '*' }] });
  await expectKeyError(print('--for', 'nobody'), 'BAD_OPTION', '--for: expected server or import, got "nobody"');
});

it('the IAM policy can be bound to a context, addresses and a multi-factor code', async () => {
  const { document, notes } = await print(
    ...['--master-key-arn', KEY, '--encryption-context', 'cluster=orders, stage=live'],
    ...['--source-ip', '198.51.100.0/24,2001:db8::/32', '--source-ip', '10.1.2.3', '--require-mfa', '--with-describe'],
  );
  expect(document).toEqual({
    Version: '2012-10-17',
    Statement: [
      {
        Sid: 'MariaDBDataKeys',
        Effect: 'Allow',
        Action: ['kms:GenerateDataKeyWithoutPlaintext', 'kms:Decrypt'],
        Resource: KEY,
        Condition: {
          StringEquals: { 'kms:EncryptionContext:cluster': 'orders', 'kms:EncryptionContext:stage': 'live' },
          'ForAllValues:StringEquals': {
            'kms:EncryptionContextKeys': [
              'cluster',
              'stage',
              'mariadb-aws-kms:key-id',
              'mariadb-aws-kms:key-version',
              'mariadb-aws-kms:encryption-algorithm',
              'mariadb-aws-kms:key-cache',
            ],
          },
          IpAddress: { 'aws:SourceIp': ['198.51.100.0/24', '2001:db8::/32', '10.1.2.3'] },
          Bool: { 'aws:MultiFactorAuthPresent': 'true' },
        },
      },
      {
        Sid: 'MariaDBLooksAtMasterKey',
        Effect: 'Allow',
        Action: ['kms:DescribeKey', 'kms:GetKeyPolicy', 'kms:GetKeyRotationStatus', 'kms:GetKeyLastUsage'],
        Resource: KEY,
      },
    ],
  });
  expect(notes).toEqual([
    'keys made without this encryption context cannot be unwrapped under this policy',
    'aws:SourceIp never matches a call through a VPC endpoint: use --source-vpce ID there',
    'AWS sees the public address of a server, for example of its NAT gateway, never a private one',
    'only sessions made with a code match: mariadb-aws-kms login --mfa-serial ARN',
  ]);
});

it('the policy names the replicas of a multi-Region key', async () => {
  const { document } = await print('--master-key-arn', MULTI, '--failover-regions', 'eu-west-1, eu-central-1');
  expect(document).toMatchObject({
    Statement: [{ Resource: [MULTI, MULTI.replace('eu-central-1', 'eu-west-1')] }],
  });
});

it('the key policy leaves the account in charge', async () => {
  expect(await print('--kind', 'key', '--principal', ROLE, '--source-vpce', 'vpce-0abc1234def567890')).toEqual({
    document: {
      Version: '2012-10-17',
      Statement: [
        {
          Sid: 'AccountAdministersKey',
          Effect: 'Allow',
          Principal: { AWS: 'arn:aws:iam::111122223333:root' },
          Action: 'kms:*',
          Resource: '*',
        },
        {
          Sid: 'MariaDBDataKeys',
          Effect: 'Allow',
          Principal: { AWS: ROLE },
          Action: ['kms:GenerateDataKeyWithoutPlaintext', 'kms:Decrypt'],
          Resource: '*',
          Condition: { StringEquals: { 'aws:SourceVpce': ['vpce-0abc1234def567890'] } },
        },
      ],
    },
    notes: [],
  });
});

it('the key policy can protect a used key from being disabled or deleted, by anybody', async () => {
  const { document, notes } = await print('--kind', 'key', '--principal', ROLE, '--keep-used', '30');
  expect(document).toMatchObject({
    Statement: [
      { Sid: 'AccountAdministersKey' },
      { Sid: 'MariaDBDataKeys' },
      {
        Sid: 'NobodyDeletesKeyInUse',
        Effect: 'Deny',
        Principal: { AWS: '*' },
        Action: ['kms:ScheduleKeyDeletion', 'kms:DisableKey'],
        Resource: '*',
        Condition: { NumericLessThan: { 'kms:TrailingDaysWithoutKeyUsage': '30' } },
      },
    ],
  });
  expect(notes[0]).toMatch(/^nobody disables or deletes the key within 30 days of its last use/);
  expect(notes[1]).toMatch(/unless aws_key_management_watch_interval is 0/);
});

it("the key policy leaves the key's account in charge when the role is in another one", async () => {
  const other = 'arn:aws:iam::444455556666:role/mariadb';
  const { document } = await print('--kind', 'key', '--principal', other, '--master-key-arn', KEY);
  expect(document).toMatchObject({
    Statement: [{ Principal: { AWS: 'arn:aws:iam::111122223333:root' } }, { Principal: { AWS: other } }],
  });
});

it('the policy lets the server unwrap under earlier master keys, and no more', async () => {
  const { document } = await print(
    ...['--master-key-arn', KEY, '--older-key-arn', OLDER, '--older-key-arn', MULTI, '--encryption-context', 'a=b'],
  );
  expect(document).toMatchObject({
    Statement: [
      { Resource: KEY },
      { Sid: 'MariaDBOlderDataKeys', Action: 'kms:Decrypt', Resource: [OLDER, MULTI], Condition: { StringEquals: {} } },
    ],
  });
});

it("the policy can be made from the server's configuration", async () => {
  const file = join(scratchDirectory(), 'my.cnf');
  const configured = async (masterKey: string, ...options: readonly string[]) => {
    const lines = [
      `master_key_id = ${masterKey}`,
      'encryption_context = "cluster=orders"',
      'failover_regions=eu-west-1',
    ];
    writeFileSync(file, ['[mariadb]', ...lines.map((line) => `aws_key_management_${line}`), ''].join('\n'));
    return await print('--defaults-file', file, ...options);
  };
  const asFlags = await print(
    ...['--master-key-arn', MULTI, '--encryption-context', 'cluster=orders', '--failover-regions', 'eu-west-1'],
  );
  expect(await configured(MULTI)).toEqual(asFlags);
  expect(await configured('alias/mariadb', '--master-key-arn', MULTI)).toEqual(asFlags);
  await expectKeyError(
    configured('alias/mariadb'),
    'BAD_OPTION',
    "the server's master key is alias/mariadb, and IAM takes no alias or id",
  );
  const { document } = await configured('alias/mariadb', '--kind', 'key', '--principal', ROLE);
  expect(document).toMatchObject({
    Statement: [{}, { Condition: { StringEquals: { 'kms:EncryptionContext:cluster': 'orders' } } }],
  });
});

it('no policy is printed when the option files cannot be read', async () => {
  await expectKeyError(print('--defaults-file', '/nowhere/my.cnf'), 'BAD_OPTION', 'the option files could not be read');
});

it('a key policy may be longer than an IAM policy', async () => {
  const pairs = Array.from({ length: 60 }, (_, index) => `name-${index}-${'x'.repeat(20)}=${index}`).join(',');
  const context = ['--encryption-context', pairs, '--source-ip', '198.51.100.1'];
  await print('--kind', 'key', '--principal', ROLE, ...context);
  const addresses = Array.from({ length: 200 }, (_, index) => `198.51.100.${index}`).join(',');
  await expectKeyError(
    print('--master-key-arn', KEY, ...context, '--source-ip', addresses),
    'BAD_OPTION',
    /^the policy has \d{4} characters, AWS allows 6144$/,
  );
  await print('--kind', 'key', '--principal', ROLE, ...context, '--source-ip', addresses);
});

it.each([
  [[], '--master-key-arn is missing: an IAM policy for every key is not minimal'],
  [['--kind', 'bucket'], '--kind: expected iam or key, got "bucket"'],
  [['--master-key-arn', 'alias/x'], '--master-key-arn: expected the ARN of a KMS key, got "alias/x"'],
  [['--master-key-arn', `${KEY}*`], `--master-key-arn: expected the ARN of a KMS key, got "${KEY}*"`],
  [['--master-key-arn', KEY, '--principal', ROLE], '--principal: an IAM policy names none, it is attached to one'],
  [['--kind', 'key'], '--principal is missing: a key policy says who may use the key'],
  [
    ['--kind', 'key', '--principal', 'arn:aws:sts::111122223333:assumed-role/mariadb/i-0'],
    '--principal: expected the ARN of an IAM role or user, got "arn:aws:sts::111122223333:assumed-role/mariadb/i-0"',
  ],
  [['--kind', 'key', '--principal', '*'], '--principal: expected the ARN of an IAM role or user, got "*"'],
  [
    ['--master-key-arn', KEY, '--encryption-context', 'cluster'],
    'aws_key_management_encryption_context: "cluster" is no name=value pair',
  ],
  [
    ['--master-key-arn', KEY, '--encryption-context', `who=\${aws:username}`],
    `--encryption-context: "who=\${aws:username}" has \${, which policies replace`,
  ],
  [
    ['--master-key-arn', KEY, '--encryption-context', 'Cluster=orders,cluster=invoices'],
    '--encryption-context: "cluster" comes twice, which policies do not tell apart',
  ],
  [
    ['--master-key-arn', KEY, '--older-key-arn', 'alias/x'],
    '--older-key-arn: expected the ARN of a KMS key, got "alias/x"',
  ],
  [['--kind', 'key', '--principal', ROLE, '--older-key-arn', KEY], '--older-key-arn: a key policy is of one key'],
  [['--master-key-arn', KEY, '--keep-used', '30'], '--keep-used: only the policy of the key holds for everybody'],
  ...['1', '3651', 'month', '-5', ''].map((days): [string[], string] => [
    ['--kind', 'key', '--principal', ROLE, `--keep-used=${days}`],
    `--keep-used: expected 2 to 3650 days, got "${days}"`,
  ]),
  [
    ['--master-key-arn', KEY, '--failover-regions', 'eu-west-1'],
    '--failover-regions: the master key is in one Region only',
  ],
  [
    ['--master-key-arn', MULTI, '--failover-regions', 'mars'],
    '--failover-regions: expected names of Regions, got "mars"',
  ],
  ...['10.0.0.0/33', '10.0.0/8', '::/129', '10.0.0.0/08', '1.2.3.4/', 'vpc'].map((cidr): [string[], string] => [
    ['--master-key-arn', KEY, '--source-ip', cidr],
    `--source-ip: expected an address or a block such as 198.51.100.0/24, got "${cidr}"`,
  ]),
  [
    ['--master-key-arn', KEY, '--source-vpce', 'vpc-1'],
    '--source-vpce: expected an id such as vpce-0abc1234def567890, got "vpc-1"',
  ],
  [
    ['--master-key-arn', KEY, '--source-vpce', 'vpce-0abc1234', '--source-ip', '198.51.100.1'],
    '--source-ip and --source-vpce: both at once let nobody in',
  ],
])('the policy command refuses %j', async (options, message) => {
  let thrown: unknown;
  try {
    await print(...options);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toMatchObject({ code: 'BAD_OPTION', message } satisfies Partial<KeyError>);
});

/** Checks the rules of IAM's policy grammar and of the console's policy validator. */
function expectAcceptable(document: unknown): void {
  expect(document).toEqual({ Version: '2012-10-17', Statement: expect.any(Array) });
  const { Statement: statements } = document as { Statement: Record<string, unknown>[] };
  const sids = statements.map(({ Sid }) => Sid);
  expect(new Set(sids).size).toBe(sids.length);
  for (const { Sid, Effect, Action, Resource, Condition = {}, ...rest } of statements) {
    expect(Sid).toMatch(/^[A-Za-z0-9]+$/);
    expect(Effect).toBe(Sid === 'NobodyDeletesKeyInUse' ? 'Deny' : 'Allow');
    for (const action of [Action].flat()) expect(action).toMatch(/^kms:(?:\*|[A-Z][A-Za-z]+)$/);
    for (const resource of [Resource].flat())
      expect(resource).toMatch(/^(?:\*|arn:aws:kms:[a-z0-9-]+:\d{12}:key\/\S+)$/);
    expect(Object.keys(rest).filter((name) => name !== 'Principal')).toEqual([]);
    for (const [operator, tests] of Object.entries(Condition as Record<string, Record<string, unknown>>)) {
      expect(['StringEquals', 'ForAllValues:StringEquals', 'IpAddress', 'Bool', 'NumericLessThan']).toContain(operator);
      expect(Object.keys(tests).length).toBeGreaterThan(0);
      for (const [key, values] of Object.entries(tests)) {
        expect(key).toMatch(
          /^(?:aws:(?:SourceIp|SourceVpce|MultiFactorAuthPresent)|kms:(?:TrailingDaysWithoutKeyUsage|EncryptionContext(?:Keys|:\S+)))$/,
        );
        for (const value of [values].flat()) expect(value).toMatch(/^.+$/);
      }
    }
  }
}
