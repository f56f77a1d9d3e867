import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { SignatureV4 } from '@smithy/signature-v4';
import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import { systemClock } from '../../../../src/cli/system.ts';
import { kmsEndpoint } from '../../../../src/kms/aws/endpoint.ts';
import { transportTo } from '../../../../src/kms/aws/http/connect.ts';
import { exchange, readJson } from '../../../../src/kms/aws/json-call.ts';
import { sdkEndpoint } from '../../../../src/kms/aws/sdk-endpoint.ts';
import { RequestSigner } from '../../../../src/kms/aws/sigv4.ts';
import { cleanUp, scratchDirectory, until } from '../../../support/scratch.ts';

/** A hash with the interface that the SDK's signer needs. */
class Sha256 {
  readonly #hash: Hash | Hmac;
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', bytes(secret));
  }
  update(data: Uint8Array): void {
    this.#hash.update(data);
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
  reset(): void {
    throw new Error('nobody needs it');
  }
}

function bytes(data: string | ArrayBuffer | ArrayBufferView): Buffer {
  if (typeof data === 'string') return Buffer.from(data);
  return data instanceof ArrayBuffer ? Buffer.from(data) : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

const visible = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) });

it("the request signer signs as the SDK's signer does", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        region: fc.constantFrom('us-east-1', 'eu-central-1', 'cn-north-1'),
        accessKeyId: fc.stringMatching(/^[A-Z0-9]{16,20}$/),
        secretAccessKey: fc.string({ minLength: 1 }),
        sessionToken: fc.option(fc.base64String({ minLength: 4 }), { nil: undefined }),
        host: fc.constantFrom('kms.eu-central-1.amazonaws.com', '127.0.0.1:8080', '[::1]:1'),
        path: fc.constantFrom('/', '/kms/', '/a%20b/c/', '//twice//', "/(it's)!*/", '/ä%C3%A4/'),
        target: visible,
        body: fc.string({ unit: 'grapheme' }),
        days: fc.array(fc.integer({ min: 0, max: 4e12 }), { minLength: 1, maxLength: 3 }),
      }),
      async ({ region, accessKeyId, secretAccessKey, sessionToken, host, path, target, body, days }) => {
        const credentials = { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
        const ours = new RequestSigner({ region, service: 'kms', path }, credentials);
        const theirs = new SignatureV4({ region, service: 'kms', credentials, sha256: Sha256, applyChecksum: false });
        const headers = { host, 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': target };
        for (const wallMs of days) {
          const signed = await theirs.sign(
            { method: 'POST', protocol: 'https:', hostname: host, path, headers, body },
            { signingDate: new Date(wallMs) },
          );
          expect(ours.sign(headers, body, wallMs)).toEqual(signed.headers);
        }
      },
    ),
  );
});

const REGIONS = [
  'af-south-1',
  'ap-northeast-3',
  'ap-southeast-5',
  'ca-west-1',
  'eu-central-1',
  'il-central-1',
  'me-central-1',
  'mx-central-1',
  'sa-east-1',
  'us-east-1',
  'us-gov-west-1',
  'cn-north-1',
  'us-iso-east-1',
  'us-isob-east-1',
  'eu-isoe-west-1',
  'us-isof-south-1',
  'eusc-de-east-1',
];

it.each([
  ...REGIONS.map((region) => [region, '', {}] as const),
  ...[
    'http://127.0.0.1:8080',
    'https://vpce-1.example.com',
    'https://proxy.example.com/kms',
    'https://a.example.com/b/',
  ].map((url) => ['eu-west-1', url, {}] as const),
  ['eu-west-1', '', { AWS_USE_FIPS_ENDPOINT: 'true' }] as const,
  ['eu-west-1', '', { AWS_USE_DUALSTACK_ENDPOINT: 'true' }] as const,
  ['eu-west-1', '', { AWS_ENDPOINT_URL: 'https://all.example.com' }] as const,
  ['eu-west-1', '', { AWS_ENDPOINT_URL_KMS: 'https://kms.example.com/x' }] as const,
])('the client finds KMS in %s at "%s" with %j where the SDK finds it', async (region, url, environment) => {
  vi.stubEnv('HOME', scratchDirectory());
  for (const name of Object.keys(process.env)) if (/^AWS_/.test(name)) vi.stubEnv(name, undefined);
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  cleanUp(() => void vi.unstubAllEnvs());
  const found = await kmsEndpoint(region, url, process.env);
  expect(found.url.href).toBe((await sdkEndpoint(region, url)).url.href);
  expect(found.signingRegion).toBe(region);
});

/** A variable for another scheme takes Node's own client, which then needs no proxy. */
const TRANSPORTS = { direct: {}, "Node's": { https_proxy: 'http://127.0.0.1:9' } };

it.each(Object.entries(TRANSPORTS))(
  'the client reads no endless answer: %s',
  { timeout: 20_000 },
  async (_, proxyEnvironment) => {
    let sent = 0;
    let hungUp = false;
    const endless = createServer((_, answer) => {
      const chunk = Buffer.alloc(65_536, ' ');
      const more = (): void => {
        while (!answer.destroyed && answer.write(chunk)) sent += chunk.length;
      };
      answer.on('drain', more);
      answer.on('close', () => {
        hungUp = true;
      });
      answer.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' });
      more();
    });
    endless.listen(0, '127.0.0.1');
    await once(endless, 'listening');
    cleanUp(() => {
      endless.closeAllConnections();
      endless.close();
    });
    const address = endless.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const url = new URL(`http://127.0.0.1:${address.port}/`);
    const transport = await transportTo(url, { proxyEnvironment, trustedCertificates: undefined, clock: systemClock });
    cleanUp(() => transport.close());
    const options = { transport, clock: systemClock, connectTimeoutMs: 10_000, requestTimeoutMs: 10_000 };
    const call = exchange(options, { host: url.host }, '{}', new AbortController().signal).then(readJson);
    await expect(call).rejects.toMatchObject({ name: 'SyntaxError', $metadata: { httpStatusCode: 200 } });
    await until('the client hangs up', () => hungUp);
    expect(sent).toBeLessThan(64 * 1024 * 1024);
  },
);
