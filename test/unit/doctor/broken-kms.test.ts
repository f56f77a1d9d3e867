import { chmodSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import type { Clock } from '../../../src/clock.ts';
import { TRIAL_UNIT } from '../../../src/server/plugin-options.ts';
import { IDENTITY } from '../../support/identity-sts.ts';
import { ALIAS, newPatient, type Patient } from './patient.ts';

it('there are no credentials', async () => {
  const patient = await newPatient();
  rmSync(patient.credentials);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  credentials: no AWS credentials: CredentialsProviderError: Could not load credentials from any providers
             give the server an identity: an instance, task or pod role, or a file that AWS_SHARED_CREDENTIALS_FILE names in its unit (/etc/mariadb-aws-kms/credentials; the drop-in is /usr/share/mariadb-aws-kms/mariadb-aws-kms.conf)
    exit 1"
  `);
});

it('the credentials have expired', async () => {
  const patient = await newPatient({ accessKey: { sessionToken: 'session-token', expiresAt: 1 } });
  patient.spoil = (kms) => ({
    ...kms,
    credentials: async () => ({
      marks: ['CREDENTIALS_PROFILE'],
      accessKeyEnd: '0000',
      expiresMs: Date.now() - 600_500,
    }),
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  credentials: arn:aws:iam::111122223333:user/mariadb, from the shared credentials file: expired 10 min ago
             mariadb-aws-kms login --mfa-serial ARN, or whatever made them
    exit 1"
  `);
});

it('the credentials expire soon', async () => {
  const patient = await newPatient();
  patient.spoil = (kms) => ({
    ...kms,
    credentials: async () => ({
      marks: ['CREDENTIALS_PROFILE'],
      accessKeyEnd: '0000',
      expiresMs: Date.now() + 600_500,
    }),
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  credentials: arn:aws:iam::111122223333:user/mariadb, from the shared credentials file: expire in 10 min; no new keys after that unless renewed
             mariadb-aws-kms login --mfa-serial ARN, or whatever made them
    exit 0"
  `);
});

it('KMS does not know the access key', async () => {
  const patient = await newPatient({ accessKey: { accessKeyId: 'AKIAUNKNOWN000000000' } });
  patient.write(
    'home/.aws/credentials',
    '[default]\naws_access_key_id = AKIAOTHER00000000000\naws_secret_access_key = x\n',
    0o600,
  );
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  master-key: master key alias/mariadb-encryption: UnrecognizedClientException: The security token included in the request is invalid. (request ID)
             AWS does not know these credentials: check the access key, the session token and the Region's partition
    failure  permissions: cannot Decrypt with MASTER-KEY: UnrecognizedClientException: The security token included in the request is invalid. (request ID)
             AWS does not know these credentials: check the access key, the session token and the Region's partition
    warning  permissions: cannot GenerateDataKeyWithoutPlaintext with alias/mariadb-encryption: UnrecognizedClientException: The security token included in the request is invalid. (request ID)
             AWS does not know these credentials: check the access key, the session token and the Region's partition
    exit 1"
  `);
});

it('the credentials file may be read by others, and by SQL users', async () => {
  const patient = await newPatient({ options: { secure_file_priv: undefined } });
  chmodSync(patient.credentials, 0o644);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  sql-files: secure_file_priv is not set: SQL users with the FILE privilege can write key files into ROOT/data, and so stop the next start
             install -d -o mysql -g mysql -m 0750 ROOT/data-files
             in /etc/my.cnf, section [mariadb]: secure_file_priv = ROOT/data-files
    warning  credentials: ROOT/home/.aws/credentials may be read by others (mode 0644)
             chmod 0600 ROOT/home/.aws/credentials
    warning  credentials: secure_file_priv is not set: SQL users with the FILE privilege can read ROOT/home/.aws/credentials
             set secure_file_priv: see sql-files
    exit 0"
  `);
});

it('the credentials file cannot be read by the server', async () => {
  const patient = await newPatient();
  chmodSync(patient.credentials, 0o040);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  credentials: mysql may not read ROOT/home/.aws/credentials (mode 0040, owner mysql:mysql)
             chown mysql: ROOT/home/.aws/credentials && chmod 0600 ROOT/home/.aws/credentials
    warning  credentials: ROOT/home/.aws/credentials may be read by others (mode 0040)
             chmod 0600 ROOT/home/.aws/credentials
    exit 1"
  `);
});

it("this machine's clock is behind", async () => {
  const patient = await newPatient({ kmsAheadMs: 480_000 });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  clock: this machine is 8 min behind the service: signatures are refused
             timedatectl set-ntp true, then look at \`chronyc tracking\` or \`timedatectl timesync-status\`
    failure  master-key: master key alias/mariadb-encryption: InvalidSignatureException: Signature expired: TIME is now earlier than TIME (TIME - 5 min.) (request ID)
             the signature was refused: check the secret access key and that the clock of this machine is right (\`timedatectl\`)
    exit 1"
  `);
});

it("this machine's clock is a little ahead", async () => {
  const patient = await newPatient({ kmsAheadMs: -100_000 });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  clock: this machine is 100 s ahead of the service
             timedatectl set-ntp true, then look at \`chronyc tracking\` or \`timedatectl timesync-status\`
    exit 0"
  `);
});

it('nothing answers at the endpoint', async () => {
  const patient = await newPatient({ options: { aws_key_management_endpoint_url: 'http://127.0.0.1:9' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  endpoint: Region us-east-1, endpoint http://127.0.0.1:9: ECONNREFUSED: connect ECONNREFUSED 127.0.0.1:9
             the server must reach the KMS endpoint: check aws_key_management_region, aws_key_management_endpoint_url, DNS, routes, security groups, proxy variables and, under SELinux, \`setsebool -P mysql_connect_any 1\`
    exit 1"
  `);
});

it('a proxy answers in place of KMS', async () => {
  const patient = await newPatient();
  patient.spoil = (kms) => ({
    ...kms,
    reach: async () => ({ dateMs: Date.now(), receivedMs: Date.now(), requestId: '', status: 502 }),
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  endpoint: Region us-east-1, endpoint KMS: what answered is not KMS (HTTP status 502, no request id)
             check aws_key_management_endpoint_url and the proxy between here and KMS
    exit 1"
  `);
});

it('the endpoint has a password in its URL', async () => {
  const patient = await newPatient({
    options: { aws_key_management_endpoint_url: 'https://user:hunter2@kms.example.com' },
  });
  patient.spoil = (kms) => ({
    ...kms,
    reach: async () => {
      throw Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' });
    },
  });
  const { problems, lines } = await patient.examine();
  expect(lines.join()).not.toContain('hunter2');
  expect(problems).toMatchInlineSnapshot(`
    "failure  option-files: aws_key_management_endpoint_url: credentials do not belong into the URL of an endpoint
             correct it in the option file
    failure  endpoint: Region us-east-1: ENOTFOUND: getaddrinfo ENOTFOUND
             the server must reach the KMS endpoint: check aws_key_management_region, aws_key_management_endpoint_url, DNS, routes, security groups, proxy variables and, under SELinux, \`setsebool -P mysql_connect_any 1\`
    exit 1"
  `);
});

it('the master key is in another Region', async () => {
  const patient = await newPatient({
    options: {
      aws_key_management_master_key_id: 'arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab',
    },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  endpoint: the master key is in eu-west-1, the server asks us-east-1
             in /etc/my.cnf, section [mariadb]: aws_key_management_region = eu-west-1
    exit 1"
  `);
});

it('stored keys are wrapped in another Region', async () => {
  const patient = await newPatient({ options: { aws_key_management_region: 'eu-west-1' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  endpoint: 3 stored key versions are wrapped in us-east-1, the server asks eu-west-1
             in /etc/my.cnf, section [mariadb]: aws_key_management_region = us-east-1
    exit 1"
  `);
});

it('the alias does not exist', async () => {
  const patient = await newPatient({ options: { aws_key_management_master_key_id: 'alias/misspelt' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  master-key: master key alias/misspelt: NotFoundException: Alias arn:aws:kms:us-east-1:111122223333:alias/misspelt is not found. (request ID)
             no such master key here: check aws_key_management_master_key_id and aws_key_management_region; keys and aliases exist in one Region only
    warning  permissions: cannot GenerateDataKeyWithoutPlaintext with alias/misspelt: NotFoundException: Alias arn:aws:kms:us-east-1:111122223333:alias/misspelt is not found. (request ID)
             no such master key here: check aws_key_management_master_key_id and aws_key_management_region; keys and aliases exist in one Region only
    exit 1"
  `);
});

it('the master key is disabled', async () => {
  const patient = await newPatient();
  call(patient, 'DisableKey', { KeyId: patient.masterKeyArn });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  master-key: MASTER-KEY is disabled
             aws kms enable-key --region us-east-1 --key-id MASTER-KEY
    failure  permissions: cannot Decrypt with MASTER-KEY: DisabledException: MASTER-KEY is disabled. (request ID)
             the master key is disabled: \`aws kms enable-key --key-id ARN\` with the ARN in this message
    warning  permissions: cannot GenerateDataKeyWithoutPlaintext with MASTER-KEY: DisabledException: MASTER-KEY is disabled. (request ID)
             the master key is disabled: \`aws kms enable-key --key-id ARN\` with the ARN in this message
    exit 1"
  `);
});

it('the master key is pending deletion', async () => {
  const patient = await newPatient();
  call(patient, 'ScheduleKeyDeletion', { KeyId: patient.masterKeyArn, PendingWindowInDays: 7 });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  master-key: MASTER-KEY is pending deletion, 7 days left: all data under it is lost then
             aws kms cancel-key-deletion --region us-east-1 --key-id MASTER-KEY && aws kms enable-key --region us-east-1 --key-id MASTER-KEY
    failure  permissions: cannot Decrypt with MASTER-KEY: KMSInvalidStateException: MASTER-KEY is pending deletion. (request ID)
             look at the master key's state: \`aws kms describe-key --key-id ARN\`; a key pending deletion is saved by \`aws kms cancel-key-deletion\` and \`aws kms enable-key\`; a key pending import needs its key material (\`aws kms import-key-material\`)
    warning  permissions: cannot GenerateDataKeyWithoutPlaintext with MASTER-KEY: KMSInvalidStateException: MASTER-KEY is pending deletion. (request ID)
             look at the master key's state: \`aws kms describe-key --key-id ARN\`; a key pending deletion is saved by \`aws kms cancel-key-deletion\` and \`aws kms enable-key\`; a key pending import needs its key material (\`aws kms import-key-material\`)
    exit 1"
  `);
});

it('the master key is for signatures', async () => {
  const patient = await newPatient();
  patient.spoil = (kms) => ({
    ...kms,
    describeKey: async (...request) => ({
      ...(await kms.describeKey(...request)),
      usage: 'SIGN_VERIFY',
      spec: 'RSA_2048',
    }),
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  master-key: MASTER-KEY is for SIGN_VERIFY with RSA_2048
             aws_key_management_master_key_id must name a symmetric encryption key: aws kms create-key
    exit 1"
  `);
});

it('an older master key is disabled', async () => {
  const patient = await newPatient();
  const older = patient.kms.kms.ensureAlias('us-east-1', 'alias/older');
  patient.makeKey('3.1', older);
  call(patient, 'DisableKey', { KeyId: older });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  master-key: 1 stored key version needs this master key: arn:aws:kms:us-east-1:111122223333:key/ID is disabled
             aws kms enable-key --region us-east-1 --key-id arn:aws:kms:us-east-1:111122223333:key/ID
    failure  permissions: cannot Decrypt with arn:aws:kms:us-east-1:111122223333:key/ID: DisabledException: arn:aws:kms:us-east-1:111122223333:key/ID is disabled. (request ID)
             the master key is disabled: \`aws kms enable-key --key-id ARN\` with the ARN in this message
    exit 1"
  `);
});

it('an older master key is disabled, and DescribeKey is not allowed', async () => {
  const patient = await newPatient({ denied: ['DescribeKey'] });
  const older = patient.kms.kms.ensureAlias('us-east-1', 'alias/older');
  patient.makeKey('3.1', older);
  call(patient, 'DisableKey', { KeyId: older });
  const { problems } = await patient.examine();
  expect(problems).toMatch(/^failure {2}permissions: cannot Decrypt with \S+: DisabledException: .* is disabled/);
  expect(problems).toMatch(/exit 1$/);
});

it('DescribeKey is not allowed', async () => {
  const patient = await newPatient({ denied: ['DescribeKey'] });
  const { problems, lines } = await patient.examine();
  expect(problems).toBe('exit 0');
  expect(lines.filter((line) => /skipped {2}(?:master-key|replicas)/.test(line))).toEqual([
    `skipped  master-key: ${ALIAS}: kms:DescribeKey is not allowed, and not needed by the server; mariadb-aws-kms policy --with-describe prints a policy that allows it`,
    'skipped  replicas: the master key could not be described',
  ]);
});

it('Decrypt is not allowed', async () => {
  const patient = await newPatient({ denied: ['Decrypt'] });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  permissions: may not Decrypt with MASTER-KEY: AccessDeniedException: User: arn:aws:iam::111122223333:user/dev-kms is not authorized to perform: kms:Decrypt on resource: MASTER-KEY because no identity-based policy allows the kms:Decrypt action (request ID)
             attach to the identity what this prints: mariadb-aws-kms policy --master-key-arn MASTER-KEY
    exit 1"
  `);
});

it('GenerateDataKeyWithoutPlaintext is not allowed, and there are no keys', async () => {
  const patient = await newPatient({ denied: ['GenerateDataKeyWithoutPlaintext'], keys: [] });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  permissions: may not GenerateDataKeyWithoutPlaintext with MASTER-KEY: AccessDeniedException: User: arn:aws:iam::111122223333:user/dev-kms is not authorized to perform: kms:GenerateDataKeyWithoutPlaintext on resource: MASTER-KEY because no identity-based policy allows the kms:GenerateDataKeyWithoutPlaintext action (request ID)
             attach to the identity what this prints: mariadb-aws-kms policy --master-key-arn MASTER-KEY
    exit 1"
  `);
});

it('GenerateDataKeyWithoutPlaintext is not allowed, and there are keys', async () => {
  const patient = await newPatient({
    denied: ['GenerateDataKeyWithoutPlaintext'],
    options: { aws_key_management_encryption_context: 'cluster=orders' },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  permissions: may not GenerateDataKeyWithoutPlaintext with MASTER-KEY: AccessDeniedException: User: arn:aws:iam::111122223333:user/dev-kms is not authorized to perform: kms:GenerateDataKeyWithoutPlaintext on resource: MASTER-KEY because no identity-based policy allows the kms:GenerateDataKeyWithoutPlaintext action (request ID)
             attach to the identity what this prints: mariadb-aws-kms policy --master-key-arn MASTER-KEY --encryption-context cluster=orders
    exit 0"
  `);
});

it('the identity has more permissions than it needs', async () => {
  const patient = await newPatient({ accessKey: { denied: [] } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  surplus-permissions: the identity may do what the server never does: GenerateDataKey, Encrypt, ReEncrypt, CreateGrant
             replace its policy by the smallest one: mariadb-aws-kms policy --master-key-arn MASTER-KEY
    exit 0"
  `);
});

it('Decrypt is not allowed under an older master key', async () => {
  const patient = await newPatient();
  const older = patient.kms.kms.ensureAlias('us-east-1', 'alias/older');
  patient.makeKey('3.1', older);
  patient.spoil = (kms) => ({
    ...kms,
    dryRun: async (request, signal) => {
      if (request.keyId !== older) return await kms.dryRun(request, signal);
      throw Object.assign(new Error('not you'), { name: 'AccessDeniedException' });
    },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  permissions: may not Decrypt with arn:aws:kms:us-east-1:111122223333:key/ID: AccessDeniedException: not you
             attach to the identity what this prints: mariadb-aws-kms policy --master-key-arn MASTER-KEY --older-key-arn arn:aws:kms:us-east-1:111122223333:key/ID
    exit 1"
  `);
});

it('KMS throttles every call', async () => {
  const clock: Clock = {
    ...systemClock,
    sleep: (ms, signal) => systemClock.sleep(ms / 10, signal),
    after: (ms, callBack) => systemClock.after(ms / 10, callBack),
  };
  const patient = await newPatient({ request: { deep: true }, surroundings: { clock }, keys: ['1.1'] });
  patient.kms.faults.set([
    {
      operation: 'Decrypt',
      kind: 'error',
      name: 'ThrottlingException',
      status: 400,
      message: 'You have exceeded the rate',
    },
  ]);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  permissions: cannot Decrypt with MASTER-KEY: ThrottlingException: You have exceeded the rate (request ID)
             KMS limits requests per account and Region; see the quota "Cryptographic operations (symmetric) request rate"
    failure  unwrap: 0 of 1 key versions unwrap; key 1 version 1: KMS Decrypt did not succeed within 9 s: the last failure was ThrottlingException: You have exceeded the rate (request ID)
             KMS limits requests per account and Region; see the quota "Cryptographic operations (symmetric) request rate"
    exit 1"
  `);
});

it('stored versions do not unwrap', async () => {
  const patient = await newPatient({ request: { deep: true }, keys: ['1.1', '2.1'] });
  damage(patient, '2.1');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  unwrap: 1 of 2 key versions unwrap; key 2 version 1: KMS Decrypt failed: InvalidCiphertextException (request ID)
             the file is not what KMS made for this key: restore it from a backup
    exit 1"
  `);
});

it('a key version does not unwrap into the key that was made', async () => {
  const patient = await newPatient({ request: { deep: true }, keys: ['1.1'] });
  patient.kms.faults.set([{ operation: 'Decrypt', kind: 'wrong-plaintext-length', bytes: 20, skip: 1 }]);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  unwrap: 0 of 1 key versions unwrap; key 1 version 1: KMS in us-east-1 answered wrongly: "data key" expected 16, 24 or 32 bytes, got 20 (request ID)
             the wrapped key was not made by GenerateDataKeyWithoutPlaintext with KeySpec AES_128 or AES_256; restore the key file from a backup
    exit 1"
  `);
});

it('the encryption context in a sidecar is not the one of the key', async () => {
  const patient = await newPatient({ keys: [] });
  patient.makeKey('1.1', patient.masterKeyArn, { cluster: 'orders' });
  const path = join(patient.data, 'aws-kms-key.1.1.json');
  patient.write('data/aws-kms-key.1.1.json', readFileSync(path, 'utf8').replace('orders', 'invoices'), 0o600);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  permissions: cannot Decrypt with MASTER-KEY: InvalidCiphertextException (request ID)
             the file is not what KMS made for this key: restore it from a backup
    exit 1"
  `);
});

it('keys without sidecars unwrap, whether they are bound to a context or not', async () => {
  const patient = await newPatient({
    request: { deep: true },
    options: { aws_key_management_encryption_context: 'cluster=orders' },
    keys: ['1.1'],
  });
  patient.makeKey('2.1', patient.masterKeyArn, { cluster: 'orders' });
  for (const name of ['1.1', '2.1']) rmSync(join(patient.data, `aws-kms-key.${name}.json`));
  const { problems, lines } = await patient.examine();
  expect(problems).toBe('exit 0');
  expect(lines).toContain('ok       unwrap: 2 of 2 key versions unwrap');
});

it('a failover Region has no replica', async () => {
  const patient = await newPatient({ options: { aws_key_management_failover_regions: 'eu-central-1' } });
  makeMultiRegion(patient);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  replicas: failover Region eu-central-1 has no replica of the master key
             aws kms replicate-key --key-id mrk-ID --replica-region eu-central-1
    exit 0"
  `);
});

it('failover Regions are set for a single-Region key', async () => {
  const patient = await newPatient({ options: { aws_key_management_failover_regions: 'eu-west-1' } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  replicas: aws_key_management_failover_regions is set, and MASTER-KEY is in one Region only
             create a multi-Region key (aws kms create-key --multi-region) and rotate to it, or empty the option
    exit 0"
  `);
});

it('the replica is disabled, and another has a different policy', async () => {
  const patient = await newPatient();
  patient.alsoSet = { aws_key_management_failover_regions: `eu-west-1=${patient.kms.url}` };
  const id = makeMultiRegion(patient);
  call(patient, 'ReplicateKey', {
    KeyId: id,
    ReplicaRegion: 'eu-central-1',
    Policy: '{"Version":"2012-10-17","Statement":[]}',
  });
  call(patient, 'DisableKey', { KeyId: id }, 'eu-west-1');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  replicas: the replica in eu-west-1 is Disabled
             aws kms describe-key --region eu-west-1 --key-id arn:aws:kms:eu-west-1:111122223333:key/mrk-ID
    warning  replicas: the replica in eu-central-1 has another key policy: who may use the key here may not there, or the reverse
             aws kms put-key-policy --region eu-central-1 --key-id arn:aws:kms:eu-central-1:111122223333:key/mrk-ID --policy-name default --policy …
    exit 0"
  `);
});

it('the key policy lets the identity administer the key', async () => {
  const patient = await newPatient();
  usePolicy(patient, [
    { Effect: 'Allow', Principal: { AWS: 'arn:aws:iam::111122223333:root' }, Action: 'kms:*', Resource: '*' },
    { Effect: 'Allow', Principal: { AWS: IDENTITY }, Action: ['kms:*'], Resource: '*' },
    { Effect: 'Deny', Principal: '*', Action: ['kms:*Alias', 'kms:ReplicateKey', 'kms:D*'], Resource: '*' },
    {
      Effect: 'Deny',
      Principal: '*',
      Action: 'kms:CreateGrant',
      Resource: '*',
      Condition: { Bool: { 'kms:GrantIsForAWSResource': 'false' } },
    },
  ]);
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  surplus-permissions: the key policy lets the identity administer the key: kms:ScheduleKeyDeletion, kms:PutKeyPolicy, kms:CreateGrant (on conditions)
             put another one: mariadb-aws-kms policy --kind key --master-key-arn arn:aws:kms:us-east-1:111122223333:key/ID --principal arn:aws:iam::111122223333:user/mariadb
    exit 0"
  `);
});

it('the key policy cannot be read, which is no problem', async () => {
  const patient = await newPatient({ denied: ['GetKeyPolicy'] });
  const { problems, lines } = await patient.examine();
  expect(problems).toBe('exit 0');
  expect(lines).toContain(
    'ok       surplus-permissions: the key policy may not be read, and the server need not; what else IAM allows, an administrator can ask',
  );
});

it('the replica does not let the identity Decrypt', async () => {
  const patient = await newPatient();
  patient.alsoSet = { aws_key_management_failover_regions: `eu-west-1=${patient.kms.url}` };
  const id = makeMultiRegion(patient);
  patient.makeKey('3.1', `arn:aws:kms:us-east-1:111122223333:key/${id}`);
  refuseDecryptIn(patient, 'eu-west-1');
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "warning  replicas: the replica in eu-west-1 does not Decrypt: AccessDeniedException: not here (request ID)
             policies are per Region: mariadb-aws-kms policy --master-key-arn arn:aws:kms:eu-west-1:111122223333:key/mrk-ID, and the key policy in eu-west-1
    exit 0"
  `);
});

it('the replica does not let the identity Decrypt, and DescribeKey is not allowed', async () => {
  const patient = await newPatient({ denied: ['DescribeKey'], keys: [] });
  patient.alsoSet = { aws_key_management_failover_regions: `eu-west-1=${patient.kms.url}` };
  const id = makeMultiRegion(patient);
  patient.makeKey('1.1', `arn:aws:kms:us-east-1:111122223333:key/${id}`);
  const { lines } = await patient.examine();
  expect(lines).toContain(
    'ok       replicas: replicas in other Regions: eu-west-1 (not described, may Decrypt, policy not compared)',
  );
  refuseDecryptIn(patient, 'eu-west-1');
  expect((await patient.examine()).problems).toMatch(/^warning {2}replicas: the replica in eu-west-1 does not Decrypt/);
});

it('the replicas are usable', async () => {
  const patient = await newPatient();
  patient.alsoSet = { aws_key_management_failover_regions: `eu-west-1=${patient.kms.url}` };
  const id = makeMultiRegion(patient);
  call(patient, 'ReplicateKey', { KeyId: id, ReplicaRegion: 'eu-central-1' });
  patient.kms.faults.set([
    {
      operation: 'GetKeyPolicy',
      region: 'eu-central-1',
      kind: 'error',
      name: 'AccessDeniedException',
      status: 400,
      message: 'no',
    },
  ]);
  const { problems, lines } = await patient.examine();
  expect(problems).toBe('exit 0');
  expect(lines).toContain(
    'ok       replicas: replicas in other Regions: eu-west-1 (enabled, may Decrypt, same policy), eu-central-1 (enabled, policy not compared)',
  );
});

function refuseDecryptIn(patient: Patient, region: string): void {
  patient.kms.faults.set([
    { operation: 'Decrypt', region, kind: 'error', name: 'AccessDeniedException', status: 400, message: 'not here' },
  ]);
}

/** Puts a key with that policy behind the alias. */
function usePolicy(patient: Patient, statements: readonly unknown[]): void {
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement: statements });
  const made = patient.kms.kms.call('us-east-1', { accessKeyId: '', denied: [] }, 'CreateKey', { Policy });
  const id = /key\/([0-9a-f-]{36})/.exec(JSON.stringify(made))?.[1] ?? '';
  call(patient, 'UpdateAlias', { AliasName: ALIAS, TargetKeyId: id });
}

function call(patient: Patient, operation: string, input: unknown, region = 'us-east-1'): void {
  patient.kms.kms.call(region, { accessKeyId: '', denied: [] }, operation, input);
}

/** Puts a multi-Region key with a replica in eu-west-1 behind the alias. */
function makeMultiRegion(patient: Patient): string {
  const answer = patient.kms.kms.call('us-east-1', { accessKeyId: '', denied: [] }, 'CreateKey', { MultiRegion: true });
  const id = /mrk-[0-9a-f]+/.exec(JSON.stringify(answer))?.[0] ?? '';
  call(patient, 'UpdateAlias', { AliasName: 'alias/mariadb-encryption', TargetKeyId: id });
  call(patient, 'ReplicateKey', { KeyId: id, ReplicaRegion: 'eu-west-1' });
  return id;
}

/** Damages a wrapped key and makes its sidecar agree. */
function damage(patient: Patient, name: string): void {
  const path = join(patient.data, `aws-kms-key.${name}`);
  const bytes = readFileSync(path);
  bytes.writeUInt8((bytes.at(-1) ?? 0) ^ 1, bytes.length - 1);
  patient.write(`data/aws-kms-key.${name}`, bytes, 0o600);
  rmSync(`${path}.json`);
}

it.each([
  [true, `systemctl restart ${TRIAL_UNIT}`],
  [false, 'mariadb-aws-kms init --embedded-kms'],
])('the KMS of a trial does not run (systemd: %s)', async (hasSystemd, fix) => {
  const patient = await newPatient({
    options: {
      aws_key_management_endpoint_url: 'http://127.0.0.1:9',
      aws_key_management_master_key_id: 'alias/trial-protects-nothing',
    },
  });
  if (hasSystemd) patient.write('system/systemd/x', '');
  const { findings } = await patient.examine();
  expect(findings.find(({ check }) => check === 'endpoint')).toMatchObject({ status: 'failure', fix });
});
