import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GenerateDataKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { expect, onTestFinished, test } from 'vitest';
import { devKmsCommand } from '../../../src/cli/dev-kms.ts';
import { TEST_ACCESS_KEY } from '../../../src/dev-kms/index.ts';
import { caught, present } from './endpoint.ts';

const { accessKeyId, secretAccessKey } = TEST_ACCESS_KEY;
const PATIENCE = { timeout: 10_000 };

function command(...args: readonly string[]) {
  const stdout: string[] = [];
  const stderr: string[] = [];
  let signal: (() => void) | undefined;
  const done = devKmsCommand({
    stdout: (line) => stdout.push(line),
    stderr: (line) => stderr.push(line),
    onSignal: (handler) => {
      signal = handler;
      return () => {
        signal = undefined;
      };
    },
  }).parseAsync(args, { from: 'user' });
  return { stdout, stderr, done, stop: () => signal?.() };
}

function sdkFor(endpoint: string, credentials = { accessKeyId, secretAccessKey }): KMSClient {
  const sdk = new KMSClient({ endpoint, region: 'us-east-1', credentials, maxAttempts: 1 });
  onTestFinished(() => sdk.destroy());
  return sdk;
}

test('dev-kms prints what a trial needs, logs calls, warns, and ends with a signal', async () => {
  const run = command('--alias', 'alias/main', '--fault', 'GenerateDataKey:error=ThrottlingException:count=1');
  await expect.poll(() => run.stdout.length, PATIENCE).toBe(7);
  expect(run.stderr[0]).toBe(
    'mariadb-aws-kms: warning: dev-kms is NOT FOR PRODUCTION: it is no AWS and protects nothing',
  );
  expect(run.stderr[1]).toContain('its master keys lie in memory and are gone when this ends');
  const url = present(/^listening on (http:\/\/127\.0\.0\.1:\d+)$/.exec(run.stdout[0] ?? '')?.[1]);
  expect(run.stdout.slice(1, 6)).toEqual([
    'fake credentials, which only this endpoint knows:',
    `  AWS_ACCESS_KEY_ID=${accessKeyId}`,
    `  AWS_SECRET_ACCESS_KEY=${secretAccessKey}`,
    expect.stringMatching(/^alias\/main is arn:aws:kms:us-east-1:111122223333:key\/[0-9a-f-]{36}$/),
    'misbehaving on request: 1 faults',
  ]);
  const sdk = sdkFor(url);
  const generate = () =>
    sdk.send(new GenerateDataKeyCommand({ KeyId: 'alias/main', KeySpec: 'AES_256', EncryptionContext: { a: 'b' } }));
  await caught(generate());
  const { Plaintext } = await generate();
  const calls = run.stdout.slice(7);
  expect(calls).toHaveLength(2);
  expect(calls[0]).toMatch(
    /^\S+Z us-east-1 GenerateDataKey alias\/main context \{"a":"b"\} -> 400 ThrottlingException: You have exceeded .* \(\S+ ms, request [0-9a-f-]{36}, fault error\)$/,
  );
  expect(calls[1]).toMatch(
    /^\S+Z us-east-1 GenerateDataKey arn:aws:kms:\S+ context \{"a":"b"\} -> 200 \(\S+ ms, request [0-9a-f-]{36}\)$/,
  );
  expect(run.stdout.join('\n')).not.toContain(Buffer.from(present(Plaintext)).toString('base64'));
  run.stop();
  await run.done;
  await expect(fetch(url)).rejects.toThrow('fetch failed');
});

test('dev-kms --json prints one line when listening, then one per call', async () => {
  const run = command(
    '--json',
    '--alias',
    'alias/main',
    '--region',
    'eu-west-1',
    '--access-key',
    'AKIATESTTESTTEST:se+cr/et',
  );
  await expect.poll(() => run.stdout.length, PATIENCE).toBe(1);
  const listening: unknown = JSON.parse(run.stdout[0] ?? '');
  expect(listening).toEqual({
    event: 'listening',
    url: expect.stringMatching(/^http:/),
    port: expect.any(Number),
    region: 'eu-west-1',
    aliases: { 'alias/main': expect.stringMatching(/^arn:aws:kms:eu-west-1:/) },
  });
  const url = present(/"url":"([^"]+)"/.exec(run.stdout[0] ?? '')?.[1]);
  await caught(sdkFor(url).send(new GenerateDataKeyCommand({ KeyId: 'alias/main', KeySpec: 'AES_256' })));
  expect(JSON.parse(run.stdout[1] ?? '')).toMatchObject({ event: 'call', error: 'UnrecognizedClientException' });
  expect(run.stdout.join()).not.toContain('se+cr/et');
  run.stop();
  await run.done;
});

test('dev-kms --state keeps the keys, and --quiet prints no calls', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dev-kms-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const state = join(directory, 'state.json');
  const keys: string[] = [];
  for (let round = 0; round < 2; round += 1) {
    const run = command('--state', state, '--alias', 'alias/main', '--quiet');
    await expect.poll(() => run.stdout.length, PATIENCE).toBe(6);
    expect(run.stderr[1]).toContain(`unprotected in ${state}`);
    keys.push(run.stdout[4] ?? '');
    const url = run.stdout[0]?.replace('listening on ', '') ?? '';
    await sdkFor(url).send(new GenerateDataKeyCommand({ KeyId: 'alias/main', KeySpec: 'AES_256' }));
    expect(run.stdout).toHaveLength(6);
    run.stop();
    await run.done;
  }
  expect(keys[0]).toBe(keys[1]);

  writeFileSync(state, 'mine');
  await expect(command('--state', state).done).rejects.toMatchObject({ code: 'KEY_FILE_CORRUPT' });
  expect(readFileSync(state, 'utf8')).toBe('mine');
});

test('dev-kms runs as the documents start it', async () => {
  const documents = join(import.meta.dirname, '../../../docs');
  const lines = readdirSync(documents)
    .filter((name) => name.endsWith('.md'))
    .flatMap((name) => readFileSync(join(documents, name), 'utf8').match(/^mariadb-aws-kms dev-kms .*$/gm) ?? []);
  expect(lines.length).toBeGreaterThan(0);
  for (const line of lines) {
    const directory = mkdtempSync(join(tmpdir(), 'dev-kms-'));
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    const words = line.split(' ').slice(2);
    const free = words.map((word, n) =>
      words[n - 1] === '--port' ? '0' : words[n - 1] === '--state' ? join(directory, word) : word,
    );
    const run = command(...free);
    await expect.poll(() => run.stdout.length, PATIENCE).toBeGreaterThan(2);
    run.stop();
    await run.done;
    expect(existsSync(join(directory, 'kms.json'))).toBe(true);
  }
});

test.each([
  [['--port', '65536'], '--port: expected 0 to 65535, got "65536"'],
  [['--port', 'x'], '--port: expected 0 to 65535, got "x"'],
  [['--host', '0.0.0.0'], 'host: expected 127.0.0.1 or ::1, got "0.0.0.0"'],
  [['--alias', 'main'], 'alias: expected alias/ and letters, digits, / _ -, got "main"'],
  [['--region', 'mars'], 'region: expected a name such as us-east-1, got "mars"'],
  [['--access-key', 'AKIATESTTEST:secretvalue'], '--access-key: the id has 12 characters, at least 16'],
  [['--access-key', `${'A'.repeat(129)}:secretvalue`], '--access-key: the id has 129 characters, at most 128'],
  [
    ['--access-key', 'AKIA-TEST-TEST-TEST:secretvalue'],
    '--access-key: the id has a character that is no letter, digit or _',
  ],
  [['--access-key', 'AKIATESTTESTTEST'], '--access-key: expected ID:SECRET or ID:SECRET:TOKEN, got no ":"'],
  [['--access-key', 'AKIATESTTESTTEST:'], '--access-key: the secret has 0 characters, at least 1'],
  [['--access-key', 'AKIATESTTESTTEST:secretvalue x'], '--access-key: the secret has white space'],
  [['--access-key', 'AKIATESTTESTTEST:secretvalue:'], '--access-key: the token is empty or has : or white space'],
  [['--fault', '*:drop:count=0'], 'fault: count: expected a whole number from 1, got 0'],
])('dev-kms refuses %j', async (args, message) => {
  const error = await caught(command(...args).done);
  expect(error).toMatchObject({ name: 'KeyError', code: 'BAD_OPTION', message });
  expect(error.message).not.toContain('secretvalue');
});
