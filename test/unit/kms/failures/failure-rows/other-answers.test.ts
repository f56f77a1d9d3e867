import { createServer } from 'node:http';
import { describe, expect, it } from 'vitest';
import type { FaultRule } from '../../../../../src/dev-kms/index.ts';
import { FAILURE_TABLE } from '../../../../../src/kms/failures/classify.ts';
import { startScene } from '../../../../support/aws-stand-ins/scene.ts';
import { type CallFailure, type FailingCall, failureOf } from '../../../../support/failing-call.ts';
import { listening, refusingProxy } from '../../../../support/fronts.ts';
import { accept } from './case.ts';

async function failing(call: FailingCall): Promise<CallFailure> {
  accept(await startScene());
  return await failureOf(call);
}

async function answering(status: number, body: string, headers: Record<string, string> = {}): Promise<string> {
  const server = createServer((_, answer) =>
    answer.writeHead(status, { 'content-type': 'text/html', ...headers }).end(body),
  );
  return `http://127.0.0.1:${await listening(server)}`;
}

async function struckBy(fault: FaultRule): Promise<CallFailure> {
  const scene = await startScene();
  accept(scene);
  scene.kms.faults.set([fault]);
  return await failureOf({ endpointUrl: scene.kms.url });
}

function expectRow(failure: CallFailure, name: string, said: string): void {
  expect(failure).toMatchObject({
    code: 'KMS_TRANSIENT',
    message: expect.stringMatching(/^key 1 version 1: KMS GenerateDataKeyWithoutPlaintext failed after 3 attempts: /),
    hint: FAILURE_TABLE[name]?.hint,
    names: [name, name, name],
  });
  // A changed answer of KMS keeps its request id.
  expect(failure.message.replace(/ \(request [0-9a-f-]{36}\)$/, '').split(' after 3 attempts: ')[1]).toBe(
    `${name}: ${said}`,
  );
}

describe('an answer that is not of KMS', () => {
  const bodies: readonly [what: string, body: string][] = [
    ['HTML', '<html><body>no</body></html>'],
    ['XML', '<?xml version="1.0"?><Error/>'],
    ['half of JSON', '{"CiphertextBlob":"AAECAwQF'],
    ['JSON with something else after it', '{"CiphertextBlob":"AAECAwQF"}<html>'],
  ];
  it.each(bodies.flatMap(([what, body]) => [200, 302, 403, 429, 500, 503].map((status) => ({ what, body, status }))))(
    '$what with status $status, is named and not quoted',
    async ({ body, status }) => {
      const failure = await failing({ endpointUrl: await answering(status, body) });
      expectRow(failure, 'UnreadableAnswer', `HTTP ${status}, text/html, no JSON`);
    },
  );

  it.each([302, 403, 429, 500, 503])('empty with status %d, is named', async (status) => {
    const failure = await failing({ endpointUrl: await answering(status, '') });
    expectRow(failure, 'UnreadableAnswer', `HTTP ${status}, text/html, no error of KMS`);
  });

  it.each(['', '{}', '{"status":"ok"}', '[]'])('%j with status 200, is named', async (body) => {
    const failure = await failing({ endpointUrl: await answering(200, body) });
    expectRow(failure, 'UnreadableAnswer', 'HTTP 200, no answer of KMS');
  });

  it('an error of another service, keeps what that said', async () => {
    const failure = await failing({ endpointUrl: await answering(403, '{"message":"Forbidden by the gateway"}') });
    expectRow(failure, 'UnreadableAnswer', 'HTTP 403, text/html, Forbidden by the gateway');
  });

  it("a proxy's page in the place of what KMS answered, is named", async () => {
    expectRow(await struckBy({ kind: 'garbage' }), 'UnreadableAnswer', 'HTTP 502, text/html, no JSON');
  });

  it('cut off by the end of the connection, is named', async () => {
    expectRow(await struckBy({ kind: 'half' }), 'ECONNRESET', 'the connection ended in the middle of the answer');
  });
});

describe('an error of KMS without a row', () => {
  it.each([
    [400, 'KMS_BAD_ANSWER', 1, 'look the error up in the AWS KMS API reference'],
    [429, 'KMS_TRANSIENT', 3, FAILURE_TABLE['ThrottlingException']?.hint],
    [500, 'KMS_TRANSIENT', 3, FAILURE_TABLE['KMSInternalException']?.hint],
    [503, 'KMS_TRANSIENT', 3, FAILURE_TABLE['KMSInternalException']?.hint],
  ])('and with status %d, is sorted by it', async (status, code, attempts, hint) => {
    const failure = await struckBy({ kind: 'error', name: 'OddException', status, message: 'what KMS said' });
    expect(failure).toMatchObject({ code, hint, names: Array(attempts).fill('OddException') });
    expect(failure.message).toMatch(/: OddException: what KMS said \(request [0-9a-f-]{36}\)$/);
  });
});

describe('a proxy', () => {
  it.each([502, 403] as const)('that answers CONNECT with %d, is named', async (status) => {
    const { url } = await refusingProxy(status);
    const failure = await failing({
      endpointUrl: 'https://kms.example.com',
      surroundings: { proxyEnvironment: { HTTPS_PROXY: url.replace('//', '//user:secret@') } },
    });
    const said = `Failed to establish tunnel to kms.example.com:443 via ${url}/: HTTP/1.1 ${status} No`;
    expectRow(failure, 'ERR_PROXY_TUNNEL', said);
  });

  it('that hangs up on CONNECT, is named', async () => {
    const { url } = await refusingProxy('hangs up');
    const failure = await failing({
      endpointUrl: 'https://kms.example.com',
      surroundings: { proxyEnvironment: { HTTPS_PROXY: url } },
    });
    expectRow(failure, 'ERR_PROXY_TUNNEL', 'Connection to establish proxy tunnel ended unexpectedly');
  });

  it('that is not there, is named', async () => {
    const failure = await failing({
      endpointUrl: 'https://kms.example.com',
      surroundings: { proxyEnvironment: { HTTPS_PROXY: 'http://127.0.0.1:1' } },
    });
    expectRow(failure, 'ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:1');
  });
});

it("an answer in place of STS's is named", async () => {
  const scene = await startScene();
  scene.environment({
    AWS_WEB_IDENTITY_TOKEN_FILE: scene.file('token', scene.issuer.secret('web-identity')),
    AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/keys',
    AWS_ENDPOINT_URL_STS: await answering(403, '<html>no</html>'),
  });
  const failure = await failureOf({ endpointUrl: scene.kmsUrl });
  expectRow(failure, 'CredentialServiceUnreachable', 'web identity, STS: HTTP 403, no answer of STS');
});

it('no attempt is made before Retry-After has passed', async () => {
  const endpointUrl = await answering(503, '<html>', { 'retry-after': '7' });
  const failure = await failing({ endpointUrl });
  expect(failure.pauses).toEqual([7_000, 11_000]);
});

it.each([
  [{ 'x-amz-retry-after': '7500' }, 7_500],
  [{ 'x-amz-retry-after': '7500', 'retry-after': '9' }, 7_500],
  [{ 'x-amz-retry-after': '9'.repeat(400) }, 30_000],
  [{ 'retry-after': '9'.repeat(400) }, 30_000],
  [{ 'retry-after': 'Sat, 13 Sep 275760 00:00:00 GMT' }, 0],
  [{ 'retry-after': 'Sun, 01 Jan 2198 00:00:00 GMT' }, 30_000],
  [{ 'retry-after': 'NaN' }, 0],
  [{ 'retry-after': '-5', 'x-amz-retry-after': '-5' }, 0],
])('the pause after an answer with %j is of %d ms', async (headers, pauseMs) => {
  const failure = await failing({ endpointUrl: await answering(503, '<html>', headers) });
  expect(failure.pauses[0]).toBe(pauseMs);
});
