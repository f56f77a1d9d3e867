import { DescribeKeyCommand, type KMSClient, ListKeysCommand } from '@aws-sdk/client-kms';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import { TEST_ACCESS_KEY } from '../../../src/dev-kms/index.ts';
import { caught, client, endpoint, expectFault } from './endpoint.ts';

const MISMATCH =
  'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.';
const BAD_TOKEN = 'The security token included in the request is invalid.';

interface SignedRequest {
  body: string;
  headers: Record<string, string>;
  path: string;
  query: Record<string, string>;
}

function isSigned(request: unknown): request is SignedRequest {
  return typeof request === 'object' && request !== null && 'headers' in request && 'body' in request;
}

/** Changes the request after the SDK has signed it. */
function tamper(sdk: KMSClient, change: (request: SignedRequest) => void): KMSClient {
  sdk.middlewareStack.add(
    (next) => (args) => {
      if (!isSigned(args.request)) throw new Error('not a signed request');
      change(args.request);
      return next(args);
    },
    { step: 'deserialize', priority: 'high', name: 'tamper' },
  );
  return sdk;
}

function authorization(request: SignedRequest, change: (header: string) => string): void {
  const name = Object.keys(request.headers).find((header) => header.toLowerCase() === 'authorization') ?? '';
  request.headers[name] = change(request.headers[name] ?? '');
}

const list = (sdk: KMSClient) => sdk.send(new ListKeysCommand({}));

describe('a request that was changed after it was signed', () => {
  test.each<readonly [what: string, change: (request: SignedRequest) => void]>([
    ['body', (request) => (request.body = '[]')],
    ['target', (request) => (request.headers['x-amz-target'] = 'TrentService.CreateKey')],
    ['signed header', (request) => (request.headers['content-type'] = 'application/x-amz-json-1.0')],
    ['signature', (request) => authorization(request, (header) => header.replace(/Signature=../, 'Signature=zz'))],
    ['signature cut', (request) => authorization(request, (header) => header.slice(0, -2))],
    ['Region of the scope', (request) => authorization(request, (header) => header.replace('us-east-1', 'us-east-2'))],
  ])('%s', async (_what, change) => {
    const sdk = tamper(client(await endpoint()), change);
    await expectFault(list(sdk), 'InvalidSignatureException', MISMATCH);
  });

  test('a changed query is refused', async () => {
    const kms = await endpoint();
    const error = await caught(list(tamper(client(kms), (request) => (request.query = { a: 'b' }))));
    expect(error.name).toBe('UnknownOperationException');
    expect(kms.calls.list()).toMatchObject([{ status: 404, error: 'UnknownOperationException' }]);
  });

  test('a header that affects the request must be signed', async () => {
    const kms = await endpoint();
    const unsign = (name: string) => (request: SignedRequest) =>
      authorization(request, (header) => header.replace(`;${name}`, '').replace(`${name};`, ''));
    await expectFault(
      list(tamper(client(kms), unsign('x-amz-target'))),
      'InvalidSignatureException',
      "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.",
    );
    await expectFault(
      list(tamper(client(kms), unsign('host'))),
      'InvalidSignatureException',
      "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
    );
  });
});

describe('credentials', () => {
  const { accessKeyId, secretAccessKey } = TEST_ACCESS_KEY;

  test('a signature with a wrong secret is refused', async () => {
    const sdk = client(await endpoint(), { credentials: { accessKeyId, secretAccessKey: `${secretAccessKey}x` } });
    await expectFault(list(sdk), 'InvalidSignatureException', MISMATCH);
  });

  test('an unknown access key is refused', async () => {
    const sdk = client(await endpoint(), { credentials: { accessKeyId: 'AKIANOBODY0000000000', secretAccessKey } });
    await expectFault(list(sdk), 'UnrecognizedClientException', BAD_TOKEN);
  });

  test('a session token is required, must be exact, and is refused where none belongs', async () => {
    const sessionToken = 'token/with+signs=';
    const kms = await endpoint({ accessKeys: [{ accessKeyId, secretAccessKey, sessionToken }] });
    expect((await list(client(kms, { credentials: { accessKeyId, secretAccessKey, sessionToken } }))).Keys).toEqual([]);
    for (const credentials of [
      { accessKeyId, secretAccessKey },
      { accessKeyId, secretAccessKey, sessionToken: `${sessionToken}x` },
    ]) {
      await expectFault(list(client(kms, { credentials })), 'UnrecognizedClientException', BAD_TOKEN);
    }
    const plain = client(await endpoint(), { credentials: { accessKeyId, secretAccessKey, sessionToken } });
    await expectFault(list(plain), 'UnrecognizedClientException', BAD_TOKEN);
  });

  test('expired credentials are refused', async () => {
    const kms = await endpoint({ accessKeys: [{ ...TEST_ACCESS_KEY, expiresAt: Date.now() - 1 }] });
    await expectFault(
      list(client(kms)),
      'ExpiredTokenException',
      'The security token included in the request is expired',
    );
  });

  test('a request without a signature, or with half of one, is refused', async () => {
    const kms = await endpoint();
    const unsigned = tamper(client(kms), (request) => {
      for (const name of Object.keys(request.headers)) {
        if (name.toLowerCase() === 'authorization') delete request.headers[name];
      }
    });
    await expectFault(list(unsigned), 'MissingAuthenticationTokenException', 'Missing Authentication Token');
    const half = tamper(client(kms), (request) => {
      authorization(request, () => 'AWS4-HMAC-SHA256 Credential=a/b');
      delete request.headers['x-amz-date'];
      delete request.headers['X-Amz-Date'];
    });
    const error = await caught(list(half));
    expect(error.name).toBe('IncompleteSignatureException');
    expect(error.message).toMatch(
      /^Authorization header requires 'Signature' parameter\. Authorization header requires 'SignedHeaders' parameter\. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header\. \(Hashed with SHA-256 and encoded with Base64\) Authorization=[A-Za-z0-9+/]{43}=$/,
    );
    const scope = tamper(client(kms), (request) => {
      authorization(request, (header) => header.replace('/us-east-1/kms/aws4_request', '/us-east-1/kms'));
    });
    await expectFault(
      list(scope),
      'IncompleteSignatureException',
      'Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 4',
    );
    const otherService = tamper(client(kms), (request) => {
      authorization(request, (header) => header.replace('/kms/', '/s3/'));
    });
    await expectFault(
      list(otherService),
      'InvalidSignatureException',
      "Credential should be scoped to correct service: 'kms'. ",
    );
  });
});

describe('clock skew', () => {
  const noon = Date.UTC(2026, 0, 2, 12, 0, 0);
  const at = (ms: number) => endpoint({ clock: { ...systemClock, wallMs: () => ms } });

  test.each([
    [-301, 'Signature expired: 20260102T115459Z is now earlier than 20260102T115500Z (20260102T120000Z - 5 min.)'],
    [
      301,
      'Signature not yet current: 20260102T120501Z is still later than 20260102T120500Z (20260102T120000Z + 5 min.)',
    ],
  ])('%i seconds', async (seconds, message) => {
    const sdk = tamper(client(await at(noon)), (request) => {
      const day = new Date(noon + seconds * 1000).toISOString().replace(/[-:]|\.\d{3}/g, '');
      request.headers['x-amz-date'] = day;
      authorization(request, (header) => header.replace(/\/\d{8}\//, '/20260102/'));
    });
    await expectFault(list(sdk), 'InvalidSignatureException', message);
  });

  test('a clock that is four minutes off is accepted', async () => {
    for (const systemClockOffset of [-240_000, 240_000]) {
      const sdk = client(await endpoint(), { systemClockOffset });
      expect((await list(sdk)).Keys).toEqual([]);
    }
  });

  test('the day of the scope is the day of the date', async () => {
    const sdk = tamper(client(await endpoint()), (request) => {
      authorization(request, (header) => header.replace(/\/\d{8}\//, '/20200101/'));
    });
    const error = await caught(list(sdk));
    expect(error.name).toBe('InvalidSignatureException');
    expect(error.message).toMatch(
      /^Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20200101' != '\d{8}', from '\d{8}T\d{6}Z'\.$/,
    );
  });
});

test('a request that is none of KMS is refused', async () => {
  const kms = await endpoint();
  const unknown = tamper(client(kms), (request) => (request.headers['x-amz-target'] = 'DynamoDB_20120810.ListTables'));
  expect((await caught(list(unknown))).name).toBe('UnknownOperationException');
  const response = await fetch(kms.url);
  expect(response.status).toBe(400);
  expect(response.headers.get('x-amzn-requestid')).toMatch(/^[0-9a-f-]{36}$/);
  expect(await response.json()).toEqual({ __type: 'UnknownOperationException' });
  const huge = await fetch(kms.url, { method: 'POST', body: 'x'.repeat(1_048_577) });
  expect(huge.status).toBe(413);
  expect(await huge.json()).toMatchObject({ __type: 'RequestEntityTooLargeException' });
});

test('the call log names caller, operation and outcome', async () => {
  const kms = await endpoint();
  await list(client(kms));
  await caught(client(kms, { region: 'eu-west-1' }).send(new DescribeKeyCommand({ KeyId: 'alias/none' })));
  const [first, second] = kms.calls.list();
  expect(first).toEqual({
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    region: 'us-east-1',
    operation: 'ListKeys',
    keyId: '',
    context: {},
    status: 200,
    error: '',
    message: '',
    requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    durationMs: expect.any(Number),
    accessKeyId: TEST_ACCESS_KEY.accessKeyId,
    dryRun: false,
    fault: '',
  });
  expect(second).toMatchObject({ region: 'eu-west-1', keyId: 'alias/none', status: 400, error: 'NotFoundException' });
});
