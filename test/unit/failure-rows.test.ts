import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { errorsDocument } from '../../scripts/lib/errors-table.ts';
import { systemClock } from '../../src/cli/system.ts';
import { KeyError } from '../../src/errors.ts';
import { type AwsSurroundings, createAwsKmsClient } from '../../src/kms/aws.ts';
import { KmsCaller } from '../../src/kms/caller.ts';
import { FAILURE_TABLE } from '../../src/kms/classify.ts';
import { CREDENTIAL_FAILURES } from '../../src/kms/credentials/rows.ts';
import { type DevKms, type FaultRule, startDevKms, TEST_ACCESS_KEY } from '../../src/kms/embedded/index.ts';
import type { FailureKind } from '../../src/kms/failure-row.ts';
import { startDeadline } from '../../src/kms/retry.ts';
import { scratchDirectory } from '../support/scratch.ts';

const ALIAS = 'alias/a';
const CODES: Readonly<Record<FailureKind, string>> = {
  operator: 'KMS_OPERATOR',
  transient: 'KMS_TRANSIENT',
  corrupt: 'KMS_CORRUPT',
  other: 'KMS_BAD_ANSWER',
};

let kms: DevKms;

beforeEach(async () => {
  kms = await startDevKms({ clock: systemClock, aliases: [ALIAS] });
  for (const name of Object.keys(process.env)) if (/^AWS_|_proxy$/i.test(name)) vi.stubEnv(name, undefined);
  vi.stubEnv('AWS_ACCESS_KEY_ID', TEST_ACCESS_KEY.accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', TEST_ACCESS_KEY.secretAccessKey);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await kms.close();
});

interface Way {
  readonly endpointUrl?: string;
  readonly surroundings?: Partial<AwsSurroundings>;
  readonly requestTimeoutMs?: number;
  readonly seconds?: number;
}

/** Through the real SDK, with our retries. */
async function failureOf(way: Way = {}): Promise<KeyError> {
  const client = await createAwsKmsClient(
    { region: 'us-east-1', endpointUrl: way.endpointUrl ?? kms.url, requestTimeoutMs: way.requestTimeoutMs ?? 0 },
    { proxyEnvironment: {}, trustedCertificates: undefined, environment: process.env, ...way.surroundings },
  );
  const deadline = startDeadline(systemClock, (way.seconds ?? 0.3) * 1000);
  const caller = new KmsCaller(client, systemClock, () => 0.99, {
    attemptStarted: () => undefined,
    attemptEnded: () => undefined,
  });
  try {
    await caller.generate(
      'key 1 version 1',
      { masterKeyId: ALIAS, keySpec: 'AES_128', encryptionContext: {} },
      deadline,
    );
  } catch (error) {
    if (error instanceof KeyError) return error;
    throw error;
  } finally {
    deadline.cancel();
    client.close();
  }
  throw new Error('it did not fail');
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** What KMS itself answers; the other rows are Node's, the SDK's, or a credential source's. */
const ANSWERS = Object.keys(FAILURE_TABLE).filter(
  (name) =>
    !Object.hasOwn(CREDENTIAL_FAILURES, name) &&
    !/^(?:E[A-Z]+|EAI_AGAIN|[A-Z]+(?:_[A-Z]+)+)$/.test(name) &&
    !['TimeoutError', 'UnreadableAnswer', 'CredentialsProviderError', 'ProviderError', 'TokenProviderError'].includes(
      name,
    ),
);

it.each(ANSWERS)('%s from KMS, through the SDK, is what the table says', async (name) => {
  const row = FAILURE_TABLE[name];
  kms.faults.set([{ kind: 'error', name, status: 400, message: 'what KMS said' }]);
  const error = await failureOf();
  expect({ code: error.code, hint: error.hint }).toEqual({ code: CODES[row?.kind ?? 'other'], hint: row?.hint });
  expect(error.message).toMatch(
    new RegExp(
      `^key 1 version 1: KMS GenerateDataKeyWithoutPlaintext failed.*: ${name}: what KMS said \\(request [0-9a-f-]{36}\\)$`,
    ),
  );
  const attempts = kms.calls.list().length;
  if (row?.retry === 'no') expect(attempts).toBe(1);
  else expect(attempts).toBeGreaterThan(1);
});

describe('the network, through the SDK', () => {
  it.each<[string, FaultRule, RegExp]>([
    ['drops the connection', { kind: 'drop' }, /TimeoutError: socket hang up|ECONNRESET/],
    ['does not answer', { kind: 'hang' }, /TimeoutError/],
    ['sends half an answer', { kind: 'half' }, /TimeoutError|ECONNRESET|UnreadableAnswer/],
    ["sends a proxy's page", { kind: 'garbage' }, /UnreadableAnswer/],
  ])('%s: it passes, and is retried', async (_, fault, text) => {
    kms.faults.set([fault]);
    const error = await failureOf({ requestTimeoutMs: 200, seconds: 1 });
    expect(error.message).toMatch(text);
    expect(['KMS_TRANSIENT', 'TIMEOUT']).toContain(error.code);
    expect(kms.calls.list().length).toBeGreaterThan(1);
  });

  it.each([
    ['http://127.0.0.1:1', /ECONNREFUSED/, /security groups/],
    ['http://nowhere.invalid', /ENOTFOUND|EAI_AGAIN/, /DNS/],
  ])('has nobody at %s', async (endpointUrl, text, hint) => {
    const error = await failureOf({ endpointUrl, seconds: 1 });
    expect(error.message).toMatch(text);
    expect(error.hint).toMatch(hint);
  });

  it.each([
    ['<html>503</html>', 503],
    ['<?xml version="1.0"?><Error/>', 403],
    ['', 200],
    ['{"truncated":', 200],
  ])('answers %j with status %d: named as no KMS', async (body, status) => {
    const server = createServer((_, answer) => answer.writeHead(status, { 'content-type': 'text/html' }).end(body));
    const error = await failureOf({ endpointUrl: `http://127.0.0.1:${await listening(server)}` });
    expect(error.hint).toMatch(/something that is not KMS answered|is a KMS endpoint|Health Dashboard/);
  });

  it('shows a certificate of another host', async () => {
    const directory = scratchDirectory();
    const [key, certificate] = [join(directory, 'key.pem'), join(directory, 'certificate.pem')];
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=elsewhere',
        '-addext',
        'subjectAltName=DNS:elsewhere',
        '-keyout',
        key,
        '-out',
        certificate,
      ],
      { stdio: 'pipe' },
    );
    const server = createHttpsServer({ key: readFileSync(key), cert: readFileSync(certificate) });
    const error = await failureOf({
      endpointUrl: `https://127.0.0.1:${await listening(server)}`,
      surroundings: { trustedCertificates: [readFileSync(certificate, 'utf8')] },
    });
    expect(error.code).toBe('KMS_OPERATOR');
    expect(error.message).toContain('ERR_TLS_CERT_ALTNAME_INVALID');
    expect(error.hint).toContain("the endpoint's certificate is not trusted");
  });
});

it.each([
  [{}, 'kms.eu-central-1.amazonaws.com:443'],
  [{ AWS_USE_FIPS_ENDPOINT: 'true' }, 'kms-fips.eu-central-1.amazonaws.com:443'],
  [{ AWS_USE_DUALSTACK_ENDPOINT: 'true' }, 'kms.eu-central-1.api.aws:443'],
])('with %j asks %s', async (environment, host) => {
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  const asked: string[] = [];
  const proxy = createServer().on('connect', (request, socket) => {
    asked.push(request.url ?? '');
    socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
  });
  const HTTPS_PROXY = `http://127.0.0.1:${await listening(proxy)}`;
  const client = await createAwsKmsClient(
    { region: 'eu-central-1', endpointUrl: '', requestTimeoutMs: 500 },
    { proxyEnvironment: { HTTPS_PROXY }, trustedCertificates: undefined, environment: process.env },
  );
  await client
    .generateWrappedKey({ masterKeyId: ALIAS, keySpec: 'AES_128', encryptionContext: {} }, AbortSignal.timeout(2000))
    .catch(() => undefined);
  client.close();
  expect(asked).toEqual([host]);
});

it('is what docs/errors.md says', () => {
  const path = join(import.meta.dirname, '../../docs/errors.md');
  expect(readFileSync(path, 'utf8'), 'docs/errors.md is out of date: npm run docs').toBe(errorsDocument());
});
