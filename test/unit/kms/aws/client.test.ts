import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { systemClock } from '../../../../src/cli/system.ts';
import { type DevKms, startDevKms, TEST_ACCESS_KEY } from '../../../../src/dev-kms/index.ts';
import { createAwsKmsClient } from '../../../../src/kms/aws/client.ts';
import type { AwsSurroundings } from '../../../../src/kms/aws/connection.ts';
import { trustedCertificates } from '../../../../src/kms/aws/trusted-certificates.ts';
import { KmsCaller } from '../../../../src/kms/caller.ts';
import type { KmsClient } from '../../../../src/kms/client.ts';
import { startDeadline } from '../../../../src/kms/retry.ts';
import { Secrets } from '../../../../src/secrets.ts';
import { CertificateAuthority } from '../../../support/certificates.ts';
import { expectKeyError } from '../../../support/expect-error.ts';
import { httpProxy, refusingProxy, tlsFront } from '../../../support/fronts.ts';
import { until } from '../../../support/scratch.ts';

const ALIAS = 'alias/a';
const PLAIN: AwsSurroundings = {
  proxyEnvironment: {},
  environment: process.env,
  trustedCertificates: undefined,
  clock: systemClock,
  secrets: new Secrets(),
};

let kms: DevKms;
let home: string;

beforeEach(async () => {
  kms = await startDevKms({ clock: systemClock, aliases: [ALIAS] });
  home = mkdtempSync(join(tmpdir(), 'mak-'));
  for (const name of Object.keys(process.env)) if (/^AWS_|_proxy$/i.test(name)) vi.stubEnv(name, undefined);
  vi.stubEnv('HOME', home);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await kms.close();
  rmSync(home, { recursive: true, force: true });
});

function useTestCredentials(): void {
  vi.stubEnv('AWS_ACCESS_KEY_ID', TEST_ACCESS_KEY.accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', TEST_ACCESS_KEY.secretAccessKey);
}

async function client(
  endpointUrl = kms.url,
  surroundings = PLAIN,
  region = 'us-east-1',
  requestTimeoutMs = 0,
): Promise<KmsClient> {
  const made = await createAwsKmsClient({ region, endpointUrl, requestTimeoutMs }, surroundings);
  onTestFinished(() => made.close());
  return made;
}

/** Makes the pause before a second attempt longer than the deadline. */
const NO_SECOND_ATTEMPT = 1_000;

/** @param seconds more than a busy machine needs to load the SDK */
async function generate(from: KmsClient, seconds = 60, random = 0.5): Promise<string> {
  const quiet = { attemptStarted: () => undefined, attemptEnded: () => undefined };
  const deadline = startDeadline(systemClock, seconds * 1000);
  try {
    const caller = new KmsCaller([from], systemClock, () => random, quiet);
    return (
      await caller.generate(
        'key 1 version 1',
        { masterKeyId: ALIAS, keySpec: 'AES_128', encryptionContext: {} },
        deadline,
      )
    ).masterKeyArn;
  } finally {
    deadline.cancel();
  }
}

/** A TLS front of the embedded KMS, with an untrusted certificate. */
async function unknownFront(): Promise<{ url: string; certificate: string }> {
  const identity = new CertificateAuthority().issue({ hosts: 'DNS:localhost,IP:127.0.0.1' });
  return { url: await tlsFront(kms.url, identity), certificate: identity.certificateFile };
}

it('the client uses the Region of the variable, then of the environment, then us-east-1', async () => {
  useTestCredentials();
  expect((await client(kms.url, PLAIN, '')).region).toBe('us-east-1');
  vi.stubEnv('AWS_REGION', 'eu-central-1');
  expect((await client(kms.url, PLAIN, '')).region).toBe('eu-central-1');
  expect((await client(kms.url, PLAIN, 'eu-west-1')).region).toBe('eu-west-1');
});

it('the client uses credentials that were renewed in the shared file', async () => {
  mkdirSync(join(home, '.aws'));
  const file = join(home, '.aws/credentials');
  const write = (secret: string): void =>
    writeFileSync(
      file,
      `[default]\naws_access_key_id = ${TEST_ACCESS_KEY.accessKeyId}\naws_secret_access_key = ${secret}\n`,
    );
  write('wrong');
  const made = await client();
  await expectKeyError(generate(made, 60, NO_SECOND_ATTEMPT), 'KMS_OPERATOR', /InvalidSignatureException/);
  write(TEST_ACCESS_KEY.secretAccessKey);
  expect(await generate(made)).toBe(kms.keyArns[0]);
});

it('the client abandons a credential process at the deadline', async () => {
  mkdirSync(join(home, '.aws'));
  writeFileSync(join(home, '.aws/config'), '[default]\ncredential_process = sleep 25\n');
  const startedMs = performance.now();
  const error = await expectKeyError(
    generate(await client(), 1),
    'TIMEOUT',
    'key 1 version 1: KMS GenerateDataKeyWithoutPlaintext did not succeed within 1 s: no answer came',
  );
  expect(error.hint).toContain('credential source');
  expect(performance.now() - startedMs).toBeLessThan(20_000);
});

it.each(['http', 'https'] as const)(
  'the client uses the proxy that the environment names, to an %s endpoint',
  async (scheme) => {
    useTestCredentials();
    const { url, asked } = await httpProxy();
    const front = await unknownFront();
    const endpoint = scheme === 'http' ? kms.url : front.url;
    const variable = scheme === 'http' ? 'HTTP_PROXY' : 'https_proxy';
    vi.stubEnv('AWS_CA_BUNDLE', front.certificate);
    const surroundings = {
      proxyEnvironment: { [variable]: url },
      environment: process.env,
      trustedCertificates: trustedCertificates(process.env),
      clock: systemClock,
      secrets: new Secrets(),
    };
    expect(await generate(await client(endpoint, surroundings))).toBe(kms.keyArns[0]);
    expect(asked).toEqual([scheme === 'http' ? `POST ${endpoint}/` : `CONNECT ${endpoint.slice('https://'.length)}`]);

    asked.length = 0;
    const around = { ...surroundings, proxyEnvironment: { [variable]: url, NO_PROXY: '127.0.0.1' } };
    expect(await generate(await client(endpoint, around))).toBe(kms.keyArns[0]);
    expect(asked).toEqual([]);
  },
);

it.each(['AWS_CA_BUNDLE', 'SSL_CERT_FILE'])(
  'the client trusts a private endpoint only when %s has its certificate',
  async (variable) => {
    useTestCredentials();
    const { url, certificate } = await unknownFront();
    const error = await expectKeyError(generate(await client(url)), 'KMS_OPERATOR', /DEPTH_ZERO_SELF_SIGNED_CERT/);
    expect(error.hint).toContain('AWS_CA_BUNDLE');
    vi.stubEnv('SSL_CERT_FILE', undefined);
    vi.stubEnv(variable, certificate);
    expect(await generate(await client(url, { ...PLAIN, trustedCertificates: trustedCertificates(process.env) }))).toBe(
      kms.keyArns[0],
    );
  },
);

it('the client refuses a missing or invalid bundle of certificates', async () => {
  await expectKeyError(
    () => trustedCertificates({ AWS_CA_BUNDLE: '/nowhere/ca.pem' }),
    'BAD_OPTION',
    /^AWS_CA_BUNDLE: cannot read \/nowhere\/ca\.pem: /,
  );
  const file = join(home, 'empty.pem');
  writeFileSync(file, 'x');
  await expectKeyError(
    () => trustedCertificates({ SSL_CERT_FILE: file }),
    'BAD_OPTION',
    `SSL_CERT_FILE: ${file} holds no PEM certificate`,
  );
  expect(trustedCertificates({})).toBeUndefined();
});

it('the client names an endpoint that does not speak TLS', async () => {
  useTestCredentials();
  const error = await expectKeyError(
    generate(await client(kms.url.replace('http:', 'https:'))),
    'KMS_OPERATOR',
    /EPROTO/,
  );
  expect(error.hint).toContain('does not speak TLS');
});

it('the client ends an attempt after request_timeout', async () => {
  useTestCredentials();
  kms.faults.set([{ kind: 'hang', count: 2 }]);
  const startedMs = performance.now();
  expect(await generate(await client(kms.url, PLAIN, 'us-east-1', 200))).toBe(kms.keyArns[0]);
  expect(performance.now() - startedMs).toBeGreaterThan(400);
});

it.each([
  [{}, 'kms.eu-central-1.amazonaws.com:443'],
  [{ AWS_USE_FIPS_ENDPOINT: 'true' }, 'kms-fips.eu-central-1.amazonaws.com:443'],
  [{ AWS_USE_DUALSTACK_ENDPOINT: 'true' }, 'kms.eu-central-1.api.aws:443'],
])('the client with %j calls %s', async (environment, host) => {
  useTestCredentials();
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  const { url, asked } = await refusingProxy(502);
  const made = await client('', { ...PLAIN, proxyEnvironment: { HTTPS_PROXY: url } }, 'eu-central-1');
  const request = { masterKeyId: ALIAS, keySpec: 'AES_128', encryptionContext: {} } as const;
  await expect(made.generateWrappedKey(request, AbortSignal.timeout(20_000))).rejects.toThrow(
    'Failed to establish tunnel',
  );
  expect(asked).toEqual([host]);
});

it('a client that prepares leaves what fails to the first call', async () => {
  useTestCredentials();
  const unreachable = await client('http://127.0.0.1:9/');
  unreachable.prepare?.();
  await expectKeyError(generate(unreachable, 60, NO_SECOND_ATTEMPT), 'KMS_TRANSIENT', /ECONNREFUSED/);
});

it('a client that prepares runs the credential process before the first call, and only then', async () => {
  const { accessKeyId, secretAccessKey } = TEST_ACCESS_KEY;
  const answer = JSON.stringify({ Version: 1, AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey });
  const program = join(home, 'credentials.sh');
  const runs = join(home, 'runs');
  writeFileSync(program, `echo run >> ${runs}\necho '${answer}'\n`);
  mkdirSync(join(home, '.aws'));
  writeFileSync(join(home, '.aws/config'), `[default]\ncredential_process = sh ${program}\n`);
  const made = await client();
  made.prepare?.();
  await until('the credential process runs', () => existsSync(runs));
  expect(await generate(made)).toBe(kms.keyArns[0]);
  expect(readFileSync(runs, 'utf8')).toBe('run\n');
});
