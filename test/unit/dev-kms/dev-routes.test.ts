import { request } from 'node:http';
import { ListKeysCommand } from '@aws-sdk/client-kms';
import { expect, test } from 'vitest';
import { caught, client, endpoint } from './endpoint.ts';

test('faults are set, listed and cleared at run time', async () => {
  const kms = await endpoint();
  const url = `${kms.url}/_dev/faults`;
  const put = (body: string) => fetch(url, { method: 'PUT', body });
  const set = await put(JSON.stringify([{ kind: 'error', name: 'ThrottlingException', count: 1 }]));
  expect(set.status).toBe(200);
  expect((await caught(client(kms).send(new ListKeysCommand({})))).name).toBe('ThrottlingException');
  expect(await (await fetch(url)).json()).toMatchObject([{ name: 'ThrottlingException', matched: 1, struck: 1 }]);

  const refused = await put('[{"kind":"drop","count":-1}]');
  expect(refused.status).toBe(400);
  expect(await refused.json()).toEqual({ error: 'fault: count: expected a whole number from 1, got -1' });
  expect(await (await put('nonsense')).json()).toEqual({ error: 'expected JSON' });
  expect(await (await put('{}')).json()).toEqual({ error: 'expected a JSON array of faults' });
  expect(kms.faults.list()).toHaveLength(1);

  expect((await fetch(url, { method: 'DELETE' })).status).toBe(200);
  expect(kms.faults.list()).toEqual([]);
});

test('calls are listed and cleared', async () => {
  const kms = await endpoint();
  await client(kms).send(new ListKeysCommand({}));
  const url = `${kms.url}/_dev/calls`;
  expect(await (await fetch(url)).json()).toMatchObject([{ operation: 'ListKeys', status: 200 }]);
  await fetch(url, { method: 'DELETE' });
  expect(await (await fetch(url)).json()).toEqual([]);
  expect((await fetch(`${kms.url}/_dev/keys`)).status).toBe(404);
});

test('a web page cannot use the controls', async () => {
  const kms = await endpoint();
  const status = (headers: Record<string, string>) =>
    new Promise<number | undefined>((resolve, reject) => {
      request(`${kms.url}/_dev/calls`, { headers }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });
  expect(await status({ host: `rebound.example:${kms.port}` })).toBe(403);
  expect(await status({ host: `127.0.0.1.example:${kms.port}` })).toBe(403);
  expect(await status({ origin: 'https://example.com' })).toBe(403);
  expect(await status({ host: `localhost:${kms.port}` })).toBe(200);
  expect(await status({ host: `[::1]:${kms.port}` })).toBe(200);
});

test('the endpoint listens on loopback only', async () => {
  for (const host of ['0.0.0.0', '::', 'localhost', '192.0.2.1']) {
    await expect(endpoint({ host })).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: `host: expected 127.0.0.1 or ::1, got "${host}"`,
    });
  }
  const kms = await endpoint();
  await expect(endpoint({ port: kms.port })).rejects.toMatchObject({
    code: 'BAD_OPTION',
    message: `cannot listen on 127.0.0.1 port ${kms.port} (EADDRINUSE)`,
  });
});
