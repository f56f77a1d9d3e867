import { createServer } from 'node:http';
import { expect, it } from 'vitest';
import { systemClock } from '../../../../src/cli/system.ts';
import { createAwsKmsClient } from '../../../../src/kms/aws/client.ts';
import { ProxyTransport } from '../../../../src/kms/aws/http/through-proxy.ts';
import { createKmsInspector } from '../../../../src/kms/aws/inspector.ts';
import { ProxyGate } from '../../../../src/kms/aws/proxy-gate.ts';
import { KmsCaller } from '../../../../src/kms/caller.ts';
import { isProxyRefusal } from '../../../../src/kms/failures/proxy-refusal.ts';
import { OperatorCaller } from '../../../../src/kms/operator-caller.ts';
import { startDeadline } from '../../../../src/kms/retry.ts';
import { Secrets } from '../../../../src/secrets.ts';
import { startScene } from '../../../support/aws-stand-ins/scene.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { httpProxy, listening, refusingProxy } from '../../../support/fronts.ts';
import { cleanUp } from '../../../support/scratch.ts';

const KEYS = Array.from({ length: 40 }, (_, index) => `key ${index + 1} version 1`);
const QUIET = { attemptStarted: () => undefined, attemptEnded: () => undefined };

/** The results of 40 simultaneous requests for keys. */
async function outcomes(
  endpoints: readonly [string, ...string[]],
  proxyEnvironment: NodeJS.ProcessEnv,
  environment: NodeJS.ProcessEnv,
): Promise<readonly unknown[]> {
  const make = (endpointUrl: string) =>
    createAwsKmsClient(
      { region: 'us-east-1', endpointUrl, requestTimeoutMs: 0 },
      { proxyEnvironment, trustedCertificates: undefined, environment, clock: systemClock, secrets: new Secrets() },
    );
  const [first, ...others] = await Promise.all(endpoints.map(make));
  if (first === undefined) throw new Error('no client');
  const caller = new KmsCaller([first, ...others], systemClock, Math.random, QUIET);
  const deadline = startDeadline(systemClock, 30_000);
  cleanUp(() => {
    deadline.cancel();
    for (const client of [first, ...others]) client.close();
  });
  const request = { masterKeyId: 'alias/a', keySpec: 'AES_128', encryptionContext: {} } as const;
  return await Promise.all(KEYS.map((key) => caller.generate(key, request, deadline).catch((error: unknown) => error)));
}

const KEYS_OF_A_USER = { AWS_ACCESS_KEY_ID: 'AKIAEXAMPLEEXAMPLE00', AWS_SECRET_ACCESS_KEY: 'not-a-secret' };
const REFUSED = {
  code: 'KMS_OPERATOR',
  message: expect.stringContaining('ProxyAuthenticationRequired'),
  hint: expect.stringContaining('HTTPS_PROXY'),
};

it('a proxy that refuses the password is asked once for all keys, and none is tried again', async () => {
  const { url, asked } = await refusingProxy(407);
  const found = await outcomes(['https://kms.example.com'], { HTTPS_PROXY: url }, KEYS_OF_A_USER);
  for (const each of found) expect(each).toMatchObject(REFUSED);
  expect(found).toHaveLength(KEYS.length);
  expect(asked).toHaveLength(1);
});

it('a proxy that refuses the password for an http endpoint is asked once for all keys', async () => {
  let asked = 0;
  const proxy = createServer((_, answer) => {
    asked += 1;
    answer.writeHead(407, { 'proxy-authenticate': 'Basic' }).end('<html>no</html>');
  });
  const url = `http://127.0.0.1:${await listening(proxy)}`;
  const found = await outcomes(['http://kms.example.com'], { HTTP_PROXY: url }, KEYS_OF_A_USER);
  for (const each of found) expect(each).toMatchObject(REFUSED);
  expect(asked).toBe(1);
});

it('a proxy that refuses the password to the call of STS is not asked by the keys that wait for credentials', async () => {
  const scene = await startScene();
  const { url, asked } = await refusingProxy(407);
  scene.environment({
    AWS_WEB_IDENTITY_TOKEN_FILE: scene.file('token', scene.issuer.secret('web-identity')),
    AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/keys',
    AWS_ENDPOINT_URL_STS: 'https://sts.example.com',
  });
  const found = await outcomes([scene.kmsUrl], { HTTPS_PROXY: url }, process.env);
  for (const each of found) expect(each).toMatchObject(REFUSED);
  expect(asked).toEqual(['sts.example.com:443']);
});

it('a proxy that refuses the password to a command is asked once for all keys of a backup', async () => {
  const { url, asked } = await refusingProxy(407);
  (await startScene()).environment(KEYS_OF_A_USER);
  const environment = { ...process.env, HTTPS_PROXY: url };
  const kms = await createKmsInspector({
    region: 'us-east-1',
    endpointUrl: 'https://kms.example.com',
    stsEndpointUrl: '',
    timeoutMs: 5_000,
    sharedFiles: undefined,
    environment,
    trustedCertificates: undefined,
    secrets: new Secrets(),
    clock: systemClock,
  });
  const deadline = startDeadline(systemClock, 30_000);
  cleanUp(() => {
    deadline.cancel();
    kms.close();
  });
  const caller = new OperatorCaller(kms, { clock: systemClock, random: Math.random });
  const request = {
    wrapped: Buffer.alloc(200),
    masterKeyArn: undefined,
    encryptionContext: {},
    keySpec: undefined,
    keyCheckValue: undefined,
  };
  const found = await Promise.all(
    KEYS.map((key) => caller.decrypt(key, request, deadline).catch((error: unknown) => error)),
  );
  for (const each of found) expect(each).toMatchObject(REFUSED);
  expect(asked).toHaveLength(1);
});

it('a proxy that accepts is used by all calls', async () => {
  const scene = await startScene();
  const key = scene.issuer.user();
  const { url, asked } = await httpProxy();
  const identity = { AWS_ACCESS_KEY_ID: key.accessKeyId, AWS_SECRET_ACCESS_KEY: key.secretAccessKey };
  const found = await outcomes([scene.kmsUrl], { HTTP_PROXY: url }, identity);
  for (const each of found) expect(each).not.toBeInstanceOf(Error);
  expect(asked).toHaveLength(KEYS.length);
});

it('a proxy that refused is asked again after half a minute, by one call', async () => {
  const clock = new FakeClock();
  const gate = new ProxyGate(clock);
  const refuse = async (): Promise<unknown> => (await gate.enter())({ status: 407 });
  expect(isProxyRefusal(await refuse())).toBe(true);
  await clock.advance(29_999);
  await expect(gate.enter()).rejects.toSatisfy(isProxyRefusal);
  await clock.advance(1);
  const leave = await gate.enter();
  const second = gate.enter();
  expect(leave({ status: 407 })).toBeInstanceOf(Error);
  await expect(second).rejects.toSatisfy(isProxyRefusal);
  await clock.advance(30_000);
  expect((await gate.enter())({ status: 200 })).toBeUndefined();
  await Promise.all(KEYS.map(() => gate.enter()));
});

it('all calls wait for the outcome of the first one, and one of them for the next when it tells nothing', async () => {
  const gate = new ProxyGate(systemClock);
  let leave = await gate.enter();
  const entered: (typeof leave)[] = [];
  const waiting = KEYS.map(async () => void entered.push(await gate.enter()));
  for (let count = 1; count < 4; count += 1) {
    expect(leave({ error: new Error('connect ECONNREFUSED') })).toBeUndefined();
    // After this turn every permitted call has entered.
    await new Promise((resolve) => void setImmediate(resolve));
    expect(entered).toHaveLength(count);
    leave = entered[count - 1] ?? leave;
  }
  leave({ status: 200 });
  await Promise.all(waiting);
});

it('a proxy that refuses the password after more than a second is asked once for all keys', async () => {
  let asked = 0;
  const proxy = createServer((_, answer) => {
    asked += 1;
    setTimeout(() => answer.writeHead(407, { 'proxy-authenticate': 'Basic' }).end('<html>no</html>'), 1_500);
  });
  const url = `http://127.0.0.1:${await listening(proxy)}`;
  const found = await outcomes(['http://kms.example.com'], { HTTP_PROXY: url }, KEYS_OF_A_USER);
  for (const each of found) expect(each).toMatchObject(REFUSED);
  expect(asked).toBe(1);
});

it('a request that Node.js refuses to make is reported, and delays no other', async () => {
  const proxy = createServer((_, answer) => void answer.end('{}'));
  const proxyEnvironment = { HTTP_PROXY: `http://127.0.0.1:${await listening(proxy)}` };
  const transport = new ProxyTransport(new URL('http://kms.example.com'), {
    proxyEnvironment,
    trustedCertificates: undefined,
    clock: systemClock,
  });
  cleanUp(() => transport.close());
  const post = async (headers: Readonly<Record<string, string>>) =>
    await new Promise((resolve) => {
      transport.post({ headers, body: '{}', connectTimeoutMs: 60_000 }, resolve);
    });
  const [refused, made] = await Promise.all([post({ authorization: 'a\nb' }), post({})]);
  expect(refused).toMatchObject({ error: { code: 'ERR_INVALID_CHAR' } });
  expect(made).toMatchObject({ answer: { status: 200 } });
});
