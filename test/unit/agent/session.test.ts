import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { helloSettings } from '../../../harness/hello-settings.ts';
import { MOST_QUESTIONS, MOST_REQUESTS_AT_ONCE, Session } from '../../../src/agent/session.ts';
import { FrameDecoder } from '../../../src/format/frames.ts';
import type { KeyName } from '../../../src/format/key-file-name.ts';
import {
  type AgentMessage,
  encodePluginMessage,
  type PluginMessage,
  parseAgentMessage,
} from '../../../src/format/messages.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs } from '../../support/memory-fs.ts';
import { dataKey, kmsError, ScriptedKms, wrappedKey } from '../../support/scripted-kms.ts';

const HELLO_SETTINGS = helloSettings({ master_key_id: 'alias/a' });

let clock: FakeClock;
let kms: ScriptedKms;
let fs: MemoryFs;
let directory: string;
let socket: Socket;
let agentStream: Socket;
let ended: Promise<unknown>;
let received: { readonly request: number; readonly message: AgentMessage }[];

beforeEach(async () => {
  clock = new FakeClock();
  kms = new ScriptedKms();
  fs = new MemoryFs();
  received = [];
  directory = mkdtempSync(join(tmpdir(), 'mak-'));
  const path = join(directory, 'socket');
  const connection = Promise.withResolvers<Socket>();
  const server = createServer((stream) => connection.resolve(stream)).listen(path);
  socket = connect(path);
  agentStream = await connection.promise;
  const session = new Session(agentStream, {
    agentVersion: '9.9.9',
    clock,
    random: () => 0.5,
    fileSystem: fs,
    connectKms: async () => [kms],
    overrideSettings: (settings) => settings,
    redact: (text) => text.replaceAll('hush', '(hidden)'),
    idleTimeoutMs: 10_000,
  });
  server.close();
  ended = session.run().then(
    () => 'closed',
    (error: unknown) => error,
  );
  const decoder = new FrameDecoder();
  socket.on('data', (chunk: Buffer) => {
    for (const frame of decoder.feed(chunk))
      received.push({ request: frame.request, message: parseAgentMessage(frame) });
  });
});

afterEach(() => {
  socket.destroy();
  rmSync(directory, { recursive: true, force: true });
});

function send(request: number, message: PluginMessage): void {
  socket.write(encodePluginMessage(request, message));
}

async function answerTo(request: number): Promise<AgentMessage> {
  for (let i = 0; i < 500; i += 1) {
    const answer = received.find((frame) => frame.request === request);
    if (answer !== undefined) return answer.message;
    await clock.advance(1);
  }
  throw new Error(`no answer to request ${request}; received ${JSON.stringify(received)}`);
}

async function hello(
  changes: readonly (readonly [string, string])[] = [],
  role: 'server' | 'backup' = 'server',
): Promise<AgentMessage> {
  send(1, { type: 'hello', protocol: 1, role, held: 0, settings: new Map([...HELLO_SETTINGS, ...changes]) });
  return await answerTo(1);
}

async function greet(held: number, changes: readonly (readonly [string, string])[] = []): Promise<AgentMessage> {
  const settings = new Map([...HELLO_SETTINGS, ...changes]);
  send(1, { type: 'hello', protocol: 2, role: 'server', held, settings });
  return await answerTo(1);
}

function heldName(id: number, version: number): KeyName {
  return { id: keyId(id), version: keyVersion(version) };
}

function sent<T extends AgentMessage['type']>(type: T): AgentMessage[] {
  return received.map(({ message }) => message).filter((message) => message.type === type);
}

describe('a session', () => {
  it('greets, loads, creates and rotates, each KEY before its DONE', async () => {
    expect(await hello()).toEqual({ type: 'welcome', protocol: 1, agentVersion: '9.9.9' });
    send(2, { type: 'load', deadlineMs: 60_000 });
    expect(await answerTo(2)).toEqual({ type: 'done', first: 0, second: 0 });
    send(3, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 30_000 });
    expect(await answerTo(3)).toEqual({ type: 'done', first: 1, second: 1 });
    send(4, { type: 'rotate', id: keyId(1), deadlineMs: 30_000 });
    expect(await answerTo(4)).toEqual({ type: 'done', first: 1, second: 2 });
    const bytes = dataKey(wrappedKey('made 1'));
    expect(sent('key')[0]).toEqual({ type: 'key', id: 1, version: 1, current: true, algorithm: 'AES_CBC', bytes });
    const order = received.map(({ request, message }) => `${message.type}${request === 0 ? '' : request}`);
    expect(order.indexOf('key')).toBeLessThan(order.indexOf('done3'));
    expect(order.lastIndexOf('key')).toBeLessThan(order.indexOf('done4'));
  });

  it('counts KMS calls and reports them before the answer', async () => {
    await hello();
    send(2, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 30_000 });
    await answerTo(2);
    expect(sent('stats')).toEqual([
      {
        type: 'stats',
        increases: new Map([
          ['generateCalls', 1],
          ['decryptCalls', 1],
          ['keysCreated', 1],
        ]),
      },
    ]);
  });

  it('answers FAIL with code, message and hint, and goes on', async () => {
    await hello([['master_key_id', '']]);
    send(2, { type: 'open', id: keyId(7), mayCreate: true, deadlineMs: 30_000 });
    expect(await answerTo(2)).toEqual({
      type: 'fail',
      code: 'KEY_NOT_ALLOWED',
      message: 'key 7 cannot be created: aws_key_management_master_key_id is empty',
      hint: "SET GLOBAL aws_key_management_master_key_id = 'alias/...', or its key id or ARN; if there are tables under key 7, its files were lost: restore aws-kms-key.7.*",
    });
    send(0, { type: 'set', name: 'master_key_id', value: 'alias/b' });
    send(3, { type: 'open', id: keyId(7), mayCreate: true, deadlineMs: 30_000 });
    expect(await answerTo(3)).toEqual({ type: 'done', first: 7, second: 1 });
    expect(kms.calls[0]?.request).toMatchObject({ masterKeyId: 'alias/b' });
  });

  it('answers one request while another waits for KMS', async () => {
    await hello();
    fs.files.set('/keys/aws-kms-key.2.1', { bytes: wrappedKey('2.1'), synced: true });
    kms.on = (operation) => (operation === 'Decrypt' ? undefined : new Promise(() => undefined));
    send(2, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 30_000 });
    send(3, { type: 'open', id: keyId(2), mayCreate: true, deadlineMs: 30_000 });
    expect(await answerTo(3)).toEqual({ type: 'done', first: 2, second: 1 });
    expect(received.some(({ request }) => request === 2)).toBe(false);
    await clock.advance(30_000);
    expect(await answerTo(2)).toMatchObject({ type: 'fail', code: 'TIMEOUT' });
  });

  it('processes a limited number of requests at a time, leaves the next ones unread, and answers all in the end', async () => {
    await hello();
    const waits: (() => void)[] = [];
    kms.on = async (operation) => {
      if (operation !== 'Decrypt') await new Promise<void>((resolve) => waits.push(resolve));
    };
    const count = 3 * MOST_REQUESTS_AT_ONCE;
    for (let key = 1; key <= count; key += 1) {
      // Each request lists the directory first.
      send(key + 1, { type: 'open', id: keyId(key), mayCreate: true, deadlineMs: 4_000_000_000 });
    }
    let begun = 0;
    const list = fs.readdir.bind(fs);
    fs.readdir = async (path) => {
      begun += 1;
      return await list(path);
    };
    await clock.settle();
    await clock.advance(1);
    await clock.settle();
    expect(begun).toBeGreaterThan(0);
    expect(begun).toBeLessThanOrEqual(MOST_REQUESTS_AT_ONCE);
    kms.on = () => undefined;
    for (let answered = 0; answered < count; ) {
      for (const wait of waits.splice(0)) wait();
      await clock.advance(1);
      answered = received.filter(({ request }) => request > 1).length;
    }
    expect(sent('done')).toHaveLength(count);
  });

  it('reads no further request of a plugin that reads no answers, and ends when that goes away', async () => {
    await hello([['master_key_id', '']]);
    socket.pause();
    const requests = 40_000;
    for (let request = 2; request < requests; request += 1) {
      // The answer is twenty times as long.
      send(request, { type: 'open', id: keyId(7), mayCreate: true, deadlineMs: 60_000 });
    }
    let before = -1;
    // Waits until nothing moves any more.
    for (let still = 0; still < 3; still = agentStream.bytesWritten === before ? still + 1 : 0) {
      before = agentStream.bytesWritten;
      await clock.settle();
      await clock.advance(1);
    }
    expect(agentStream.writableLength).toBeGreaterThan(0);
    expect(agentStream.writableLength).toBeLessThan(2 * 1024 * 1024);
    socket.destroy();
    expect(await ended).toBe('closed');
  });

  it('retries for the last LOAD only', async () => {
    fs.files.set('/keys/aws-kms-key.1.1', { bytes: wrappedKey('1.1'), synced: true });
    kms.on = () => {
      throw kmsError('AccessDeniedException', 'no');
    };
    await hello([['allow_missing_keys', 'ON']]);
    for (let request = 2; request < 22; request += 1) {
      send(request, { type: 'load', deadlineMs: 60_000 });
      await answerTo(request);
    }
    const before = sent('missing').length;
    await clock.advance(5_000);
    await clock.settle();
    expect(sent('missing').length - before).toBe(1);
  });

  it('has no missing keys after a LOAD that succeeds, and retries no more', async () => {
    fs.files.set('/keys/aws-kms-key.1.1', { bytes: wrappedKey('1.1'), synced: true });
    kms.on = () => {
      throw kmsError('AccessDeniedException', 'no');
    };
    await hello([['allow_missing_keys', 'ON']]);
    send(2, { type: 'load', deadlineMs: 60_000 });
    expect(await answerTo(2)).toEqual({ type: 'done', first: 1, second: 0 });
    kms.on = () => undefined;
    send(3, { type: 'load', deadlineMs: 60_000 });
    expect(await answerTo(3)).toEqual({ type: 'done', first: 1, second: 1 });
    expect(sent('missing')).toEqual([
      { type: 'missing', versions: 1 },
      { type: 'missing', versions: 0 },
    ]);
    send(4, { type: 'open', id: keyId(1), mayCreate: false, deadlineMs: 5000 });
    expect(await answerTo(4)).toMatchObject({ type: 'done', first: 1, second: 1 });
    const calls = kms.calls.length;
    await clock.advance(60_000);
    expect(kms.calls).toHaveLength(calls);
  });

  it('fails LOAD with one line for each cause, and the versions that stay wrapped for it', async () => {
    for (const version of [1, 2])
      fs.files.set(`/keys/aws-kms-key.1.${version}`, { bytes: wrappedKey(`1.${version}`), synced: true });
    kms.on = () => {
      throw kmsError('AccessDeniedException', 'no');
    };
    await hello();
    send(2, { type: 'load', deadlineMs: 60_000 });
    await clock.advance(100);
    expect(await answerTo(2)).toMatchObject({
      type: 'fail',
      code: 'KEYS_FAILED',
      message: '2 of 2 stored key versions cannot be unwrapped: AccessDeniedException',
    });
    const lines = sent('log').flatMap((message) =>
      message.type === 'log' && message.severity === 'error' ? [message.text] : [],
    );
    expect(lines).toEqual([
      expect.stringMatching(
        /^key 1 versions 1-2: KMS Decrypt failed: AccessDeniedException: no \(request request-of-AccessDeniedException\); the identity needs/,
      ),
    ]);
  });

  it('fails LOAD with the first of several causes', async () => {
    for (const version of [1, 2])
      fs.files.set(`/keys/aws-kms-key.1.${version}`, { bytes: wrappedKey(`1.${version}`), synced: true });
    let calls = 0;
    kms.on = () => {
      calls += 1;
      throw kmsError(calls === 1 ? 'AccessDeniedException' : 'DisabledException', 'no');
    };
    await hello();
    send(2, { type: 'load', deadlineMs: 60_000 });
    await clock.advance(100);
    expect(await answerTo(2)).toMatchObject({
      message: expect.stringMatching(/^2 of 2 stored key versions cannot be unwrapped; the first: key 1 version 1 /),
    });
  });

  it('with allow_missing_keys starts without missing keys and delivers them as soon as it can', async () => {
    fs.files.set('/keys/aws-kms-key.1.1', { bytes: wrappedKey('1.1'), synced: true });
    kms.on = (_, call) => {
      if (call < 4) throw kmsError('DisabledException');
    };
    await hello([['allow_missing_keys', 'ON']]);
    send(2, { type: 'load', deadlineMs: 60_000 });
    await clock.advance(100);
    expect(await answerTo(2)).toEqual({ type: 'done', first: 1, second: 0 });
    expect(sent('missing')).toEqual([{ type: 'missing', versions: 1 }]);
    // Longer than an idle session lives: an agent that still retries is not idle.
    await clock.advance(60_000);
    expect(sent('missing').map((message) => (message.type === 'missing' ? message.versions : -1))).toEqual([
      1, 1, 1, 0,
    ]);
    expect(sent('key')).toHaveLength(1);
  });

  it('fails OPEN and FETCH of a missing version without waiting for KMS, and creates new keys', async () => {
    for (const version of [1, 2])
      fs.files.set(`/keys/aws-kms-key.2.${version}`, { bytes: wrappedKey(`2.${version}`), synced: true });
    kms.on = () => {
      throw kmsError('DisabledException');
    };
    await greet(0, [['allow_missing_keys', 'ON']]);
    send(2, { type: 'load', deadlineMs: 60_000 });
    await clock.advance(100);
    expect(await answerTo(2)).toMatchObject({ type: 'done' });
    kms.on = () => undefined;
    send(3, { type: 'open', id: keyId(2), mayCreate: true, deadlineMs: 5000 });
    send(4, { type: 'fetch', id: keyId(2), version: keyVersion(1), deadlineMs: 5000 });
    send(5, { type: 'open', id: keyId(3), mayCreate: true, deadlineMs: 5000 });
    for (const [request, version] of [
      [3, '[12]'],
      [4, '1'],
    ] as const) {
      expect(await answerTo(request)).toMatchObject({
        type: 'fail',
        code: 'KEY_STILL_WRAPPED',
        message: expect.stringMatching(
          new RegExp(`^key 2 version ${version} is not unwrapped yet, and is tried again: .*DisabledException`),
        ),
        hint: expect.stringMatching(/until the server is restarted: never DROP it$/),
      });
    }
    expect(await answerTo(5)).toEqual({ type: 'done', first: 3, second: 1 });
    // Once the keys exist, requests for them succeed again.
    await clock.advance(6_000);
    send(6, { type: 'open', id: keyId(2), mayCreate: true, deadlineMs: 5000 });
    expect(await answerTo(6)).toEqual({ type: 'done', first: 2, second: 2 });
  });

  it.each<[string, string, string]>([
    ['key_spec', 'AES_192', 'aws_key_management_key_spec: expected AES_128 or AES_256, got "AES_192"'],
    [
      'encryption_algorithm',
      'aes_ctr',
      'aws_key_management_encryption_algorithm: expected AES_CBC or AES_CTR, got "aes_ctr"',
    ],
    [
      'log_level',
      'Loud',
      'aws_key_management_log_level: expected Off, Fatal, Error, Warn, Info, Debug, Trace, got "Loud"',
    ],
    ['key_ids', '0', 'aws_key_management_key_ids: "0" is not a key id or a range of key ids'],
    [
      'endpoint_url',
      'kms',
      'aws_key_management_endpoint_url: expected a URL such as https://vpce-1234.kms.eu-central-1.vpce.amazonaws.com',
    ],
    [
      'endpoint_url',
      'https://u:p@kms',
      'aws_key_management_endpoint_url: credentials do not belong into the URL of an endpoint',
    ],
    ['request_timeout', '1s', 'aws_key_management_request_timeout: expected milliseconds, got "1s"'],
    ['mock', 'yes', 'aws_key_management_mock: expected ON or OFF, got "yes"'],
    ['encryption_context', 'a', 'aws_key_management_encryption_context: "a" is no name=value pair'],
    [
      'failover_regions',
      'europe',
      'aws_key_management_failover_regions: expected Regions such as eu-west-1,eu-central-1, got "europe"',
    ],
    ['keyfile_dir', 'keys', 'aws_key_management_keyfile_dir: expected an absolute path, got "keys"'],
  ])('refuses HELLO with a bad %s (%s)', async (setting, value, message) => {
    expect(await hello([[setting, value]])).toMatchObject({ type: 'fail', code: 'BAD_OPTION', message });
  });

  it('refuses a plugin whose protocol is too old, and says which package to upgrade', async () => {
    send(1, { type: 'hello', protocol: 0, role: 'server', held: 0, settings: new Map(HELLO_SETTINGS) });
    expect(await answerTo(1)).toEqual({
      type: 'fail',
      code: 'PROTOCOL',
      message: 'the plugin speaks protocol 0, this agent 2 and 1',
      hint: 'the plugin is the older one: upgrade its package to the release of the agent, and restart the server',
    });
  });

  it('offers its latest protocol to a plugin of a later one', async () => {
    send(1, { type: 'hello', protocol: 3, role: 'server', held: 1, settings: new Map(HELLO_SETTINGS) });
    expect(await answerTo(1)).toEqual({ type: 'welcome', protocol: 2, agentVersion: '9.9.9' });
    send(2, { type: 'load', deadlineMs: 1 });
    expect(await ended).toMatchObject({ code: 'PROTOCOL', message: 'load: HELD must name 1 more first' });
  });

  it('takes the default for a setting that is missing, and ignores one that it does not know, with one line', async () => {
    const settings = new Map([
      ['keyfile_dir', '/keys'],
      ['master_key_id', 'alias/mariadb-encryption'],
      ['later_setting', '7'],
      ['later_still', ''],
    ]);
    send(1, { type: 'hello', protocol: 2, role: 'server', held: 0, settings });
    expect(await answerTo(1)).toMatchObject({ type: 'welcome' });
    send(0, { type: 'set', name: 'later_setting', value: '8' });
    send(2, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 30_000 });
    expect(await answerTo(2)).toEqual({ type: 'done', first: 1, second: 1 });
    const text =
      'the plugin sent settings that this agent does not know and ignores: later_setting and 1 more; the plugin is the newer one: upgrade the package of the agent to its release';
    expect(sent('log').filter((message) => message.type === 'log' && message.severity !== 'note')).toEqual([
      { type: 'log', severity: 'warning', text },
    ]);
  });

  it('refuses by name a setting that it must understand and does not know', async () => {
    expect(await hello([['!tenant', 'a']])).toEqual({
      type: 'fail',
      code: 'BAD_OPTION',
      message: 'hello: this agent does not know the setting tenant, which it must understand',
      hint: 'the plugin is the newer one: upgrade the package of the agent to its release',
    });
  });

  it.each([
    ['key_spec', 'key_spec'],
    ['sealed_key_ring', 'sealed_key_cache'],
  ])('understands a setting that it must understand and knows (!%s)', async (wire, name) => {
    const settings = new Map(HELLO_SETTINGS).set(`!${wire}`, 'AES_0');
    settings.delete(name);
    send(1, { type: 'hello', protocol: 2, role: 'server', held: 0, settings });
    expect(await answerTo(1)).toMatchObject({
      code: 'BAD_OPTION',
      message: expect.not.stringContaining('must understand'),
    });
  });

  it('refuses a setting that comes twice, once to be understood', async () => {
    expect(await hello([['!key_spec', 'AES_128']])).toMatchObject({
      code: 'PROTOCOL',
      message: 'hello: the setting key_spec comes twice',
    });
  });

  it('asks nothing when the time of the request is over', async () => {
    await greet(0);
    const readdir = fs.readdir.bind(fs);
    fs.readdir = async (path) => {
      await clock.sleep(2000);
      return await readdir(path);
    };
    send(2, { type: 'open', id: keyId(7), mayCreate: false, deadlineMs: 1000 });
    await clock.advance(10_000);
    expect(received.filter(({ request }) => request === 2).map(({ message }) => message)).toEqual([
      { type: 'fail', code: 'TIMEOUT', message: 'key 7 is not created: the time allowed is over', hint: '' },
    ]);
  });

  it('asks whether a key may be made, and makes it after a yes, with the time of the answer', async () => {
    await greet(0);
    send(2, { type: 'open', id: keyId(7), mayCreate: false, deadlineMs: 1000 });
    expect(await answerTo(2)).toEqual({ type: 'question', id: 7 });
    // A look at much data takes longer than the time that KMS has.
    await clock.advance(60_000);
    received.length = 0;
    send(2, { type: 'answer', mayCreate: true, deadlineMs: 1000 });
    expect(await answerTo(2)).toEqual({ type: 'done', first: 7, second: 1 });
    expect(sent('key')).toHaveLength(1);
  });

  it('makes no key after a no, and says that there is none', async () => {
    await greet(0);
    send(2, { type: 'open', id: keyId(7), mayCreate: false, deadlineMs: 1000 });
    expect(await answerTo(2)).toEqual({ type: 'question', id: 7 });
    received.length = 0;
    send(2, { type: 'answer', mayCreate: false, deadlineMs: 1000 });
    expect(await answerTo(2)).toEqual({ type: 'done', first: 7, second: 0 });
    expect(kms.calls).toEqual([]);
    expect([...fs.files.keys()]).toEqual([]);
  });

  it('asks nothing when the key is stored, or may be made anyway', async () => {
    fs.files.set('/keys/aws-kms-key.1.1', { bytes: wrappedKey('a'), synced: true });
    await greet(0);
    send(2, { type: 'open', id: keyId(1), mayCreate: false, deadlineMs: 1000 });
    expect(await answerTo(2)).toEqual({ type: 'done', first: 1, second: 1 });
    send(3, { type: 'open', id: keyId(2), mayCreate: true, deadlineMs: 1000 });
    expect(await answerTo(3)).toEqual({ type: 'done', first: 2, second: 1 });
    expect(sent('question')).toEqual([]);
  });

  it('has the time that the answer brings, and not more', async () => {
    await greet(0);
    kms.on = () => {
      throw kmsError('ThrottlingException');
    };
    send(2, { type: 'open', id: keyId(7), mayCreate: false, deadlineMs: 1000 });
    await answerTo(2);
    received.length = 0;
    send(2, { type: 'answer', mayCreate: true, deadlineMs: 300 });
    expect(await answerTo(2)).toMatchObject({ type: 'fail', code: 'KMS_TRANSIENT' });
  });

  it('fails a plugin of protocol 1 with KEY_OF_DATA where it would ask', async () => {
    await hello();
    send(2, { type: 'open', id: keyId(7), mayCreate: false, deadlineMs: 1000 });
    const message =
      /^key 7 is not among the key files in \/keys, and a file in the data directory is encrypted with it, or cannot be looked at: no new key is made/;
    expect(await answerTo(2)).toMatchObject({
      type: 'fail',
      code: 'KEY_OF_DATA',
      message: expect.stringMatching(message),
    });
    expect(kms.calls).toEqual([]);
    send(3, { type: 'open', id: keyId(7), mayCreate: true, deadlineMs: 1000 });
    expect(await answerTo(3)).toEqual({ type: 'done', first: 7, second: 1 });
  });

  it('works on, and ends at once, with a question open', async () => {
    await greet(0);
    for (let i = 1; i <= MOST_REQUESTS_AT_ONCE + 1; i += 1)
      send(i + 1, { type: 'open', id: keyId(i), mayCreate: false, deadlineMs: 1000 });
    await answerTo(MOST_REQUESTS_AT_ONCE + 2);
    expect(sent('question')).toHaveLength(MOST_REQUESTS_AT_ONCE + 1);
    send(1000, { type: 'rotate', id: keyId(1), deadlineMs: 1000 });
    expect(await answerTo(1000)).toMatchObject({ type: 'fail', code: 'KEY_UNKNOWN' });
    socket.end();
    await ended;
    expect(clock.pendingTimers).toBe(0);
  });

  it('has so many questions open at a time, and fails what would ask another', async () => {
    await greet(0);
    for (let i = 1; i <= MOST_QUESTIONS + 1; i += 1)
      send(i + 1, { type: 'open', id: keyId(i), mayCreate: false, deadlineMs: 1000 });
    const message = `key ${MOST_QUESTIONS + 1} is not created: ${MOST_QUESTIONS} others wait for a look at the data`;
    expect(await answerTo(MOST_QUESTIONS + 2)).toMatchObject({ type: 'fail', code: 'TIMEOUT', message });
  });

  it.each<[string, () => Promise<unknown>]>([
    ['to nothing', async () => undefined],
    [
      'under another number',
      async () => {
        send(3, { type: 'open', id: keyId(7), mayCreate: false, deadlineMs: 1000 });
        return await answerTo(3);
      },
    ],
    [
      'a second time',
      async () => {
        send(2, { type: 'open', id: keyId(7), mayCreate: false, deadlineMs: 1000 });
        await answerTo(2);
        send(2, { type: 'answer', mayCreate: false, deadlineMs: 1000 });
      },
    ],
  ])('ends on an answer %s', async (_, before) => {
    await greet(0);
    await before();
    send(2, { type: 'answer', mayCreate: true, deadlineMs: 1000 });
    expect(await ended).toMatchObject({ code: 'PROTOCOL', message: 'answer: no question is open under request 2' });
    expect(kms.calls).toEqual([]);
  });

  it('creates no version that HELD names, and logs that at each look', async () => {
    for (const key of ['2.1', '3.1'])
      fs.files.set(`/keys/aws-kms-key.${key}`, { bytes: wrappedKey(key), synced: true });
    expect(await greet(3)).toEqual({ type: 'welcome', protocol: 2, agentVersion: '9.9.9' });
    send(0, { type: 'held', names: [heldName(2, 1)] });
    send(0, { type: 'held', names: [heldName(2, 2), heldName(3, 1)] });
    send(2, { type: 'rotate', id: keyId(2), deadlineMs: 30_000 });
    const message =
      'aws-kms-key.2.2 is not in /keys any more, and the server has the keys of those files in use: nothing is created there';
    expect(await answerTo(2)).toMatchObject({ type: 'fail', code: 'STORE_UNAVAILABLE', message });
    send(3, { type: 'check', deadlineMs: 30_000 });
    expect(await answerTo(3)).toEqual({ type: 'done', first: 0, second: 0 });
    expect(sent('log')).toContainEqual({ type: 'log', severity: 'error', text: expect.stringContaining(message) });
  });

  it('uses the master key for a server of protocol 2, and announces nothing', async () => {
    fs.files.set('/keys/aws-kms-key.1.1', { bytes: wrappedKey('a'), synced: true });
    await greet(0);
    send(2, { type: 'use', deadlineMs: 30_000 });
    expect(await answerTo(2)).toEqual({ type: 'done', first: 0, second: 0 });
    expect(kms.calls.map(({ operation }) => operation)).toEqual(['Decrypt']);
    expect([...sent('key'), ...sent('log')]).toEqual([]);
    expect(sent('stats')).toEqual([{ type: 'stats', increases: new Map([['decryptCalls', 1]]) }]);
  });

  it('warns of a use that KMS refused, and does not end', async () => {
    fs.files.set('/keys/aws-kms-key.1.1', { bytes: wrappedKey('a'), synced: true });
    await greet(0);
    kms.on = () => {
      throw kmsError('AccessDeniedException');
    };
    send(2, { type: 'use', deadlineMs: 30_000 });
    expect(await answerTo(2)).toEqual({ type: 'done', first: 0, second: 0 });
    const text = expect.stringMatching(/^a master key was not used in us-east-1 today, .*AccessDeniedException/);
    expect(sent('log')).toContainEqual({ type: 'log', severity: 'warning', text });
  });

  it('makes no daily use in mock mode', async () => {
    fs.files.set('/keys/aws-kms-key.1.1', { bytes: wrappedKey('a'), synced: true });
    send(1, {
      type: 'hello',
      protocol: 2,
      role: 'server',
      held: 0,
      settings: new Map([...HELLO_SETTINGS, ['mock', 'ON']]),
    });
    await answerTo(1);
    send(2, { type: 'use', deadlineMs: 30_000 });
    expect(await answerTo(2)).toEqual({ type: 'done', first: 0, second: 0 });
    expect(kms.calls).toEqual([]);
  });

  it.each([
    ['a backup', 2, 'backup'],
    ['protocol 1', 1, 'server'],
  ] as const)('makes no daily use of master keys for %s', async (_, protocol, role) => {
    send(1, { type: 'hello', protocol, role, held: 0, settings: new Map(HELLO_SETTINGS) });
    await answerTo(1);
    send(2, { type: 'use', deadlineMs: 30_000 });
    const message = 'use: only a server asks for it, from protocol 2 on';
    expect(await ended).toMatchObject({ code: 'PROTOCOL', message });
    expect(kms.calls).toEqual([]);
  });

  it.each<[string, () => void, string]>([
    [
      'a request before HELD has named them all',
      () => send(2, { type: 'load', deadlineMs: 1 }),
      'load: HELD must name 1 more first',
    ],
    [
      'more names than HELLO said',
      () => send(0, { type: 'held', names: [heldName(1, 1), heldName(1, 2)] }),
      'held: expected at most 1 key versions, got 2',
    ],
  ])('ends on %s', async (_, act, message) => {
    await greet(1);
    act();
    expect(await ended).toMatchObject({ code: 'PROTOCOL', message });
  });

  it('refuses more names than a key directory ever has', async () => {
    expect(await greet(1_000_001)).toMatchObject({
      type: 'fail',
      code: 'PROTOCOL',
      message: 'hello: expected at most 1000000 key versions, got 1000001',
    });
  });

  it.each<[string, () => void, string]>([
    ['a request before HELLO', () => send(1, { type: 'load', deadlineMs: 1 }), 'load: HELLO must come first'],
    ['garbage', () => void socket.write('GET / HTTP/1.1\r\n\r\n'), 'frame length expected 5 to 16384, got 1195725856'],
    [
      'half a frame',
      () => void socket.end(Buffer.from([0, 0, 0, 9, 3])),
      'the plugin closed the connection inside a frame',
    ],
  ])('ends on %s', async (_, act, message) => {
    act();
    expect(await ended).toMatchObject({ code: 'PROTOCOL', message });
  });

  it('ends on a second HELLO and on a SET of a static setting', async () => {
    await hello();
    send(0, { type: 'set', name: 'mock', value: 'ON' });
    expect(await ended).toMatchObject({ code: 'PROTOCOL', message: 'set: mock is not a setting that changes' });
  });

  it('ends when the plugin goes away, and aborts running requests', async () => {
    await hello();
    let aborted = false;
    kms.on = () => new Promise(() => undefined);
    const call = kms.generateWrappedKey.bind(kms);
    kms.generateWrappedKey = async (request, signal) => {
      signal.addEventListener('abort', () => {
        aborted = true;
      });
      return await call(request, signal);
    };
    send(2, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 30_000 });
    await clock.settle();
    await clock.advance(50);
    socket.destroy();
    expect(await ended).toBe('closed');
    expect(aborted).toBe(true);
    expect(kms.isClosed).toBe(true);
    expect([...fs.files.keys()]).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('removes its temporary files when the plugin goes away in the middle of a creation', async () => {
    await hello();
    kms.on = (operation) => (operation === 'Decrypt' ? new Promise(() => undefined) : undefined);
    send(2, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 30_000 });
    await clock.settle();
    await clock.advance(50);
    expect([...fs.files.keys()].some((file) => file.includes('.aws-kms-tmp-'))).toBe(true);
    socket.destroy();
    expect(await ended).toBe('closed');
    expect([...fs.files.keys()]).toEqual([]);
  });

  it.each<[string, PluginMessage]>([
    ['LOAD', { type: 'load', deadlineMs: 60_000 }],
    ['OPEN', { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 30_000 }],
    ['OPEN of a new key', { type: 'open', id: keyId(2), mayCreate: true, deadlineMs: 30_000 }],
    ['CHECK', { type: 'check', deadlineMs: 30_000 }],
  ])(
    'makes its first KMS call a random time of up to 100 ms after HELLO, for %s too, and waits never again',
    async (_, request) => {
      fs.files.set('/keys/aws-kms-key.1.1', { bytes: wrappedKey('a'), synced: true });
      const startedMs = clock.monotonicMs();
      await hello();
      const calledMs: number[] = [];
      kms.on = () => void calledMs.push(clock.monotonicMs());
      send(2, request);
      await answerTo(2);
      expect(calledMs[0]).toBe(startedMs + 50);
      send(3, { type: 'rotate', id: keyId(1), deadlineMs: 30_000 });
      const askedMs = clock.monotonicMs();
      await answerTo(3);
      expect(calledMs.at(-1)).toBeLessThan(askedMs + 50);
    },
  );

  it('reports the calls of a failed request, too', async () => {
    await hello();
    kms.on = () => {
      throw kmsError('AccessDeniedException');
    };
    send(2, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 30_000 });
    expect(await answerTo(2)).toMatchObject({ type: 'fail', code: 'KMS_OPERATOR' });
    expect(sent('stats')).toEqual([
      {
        type: 'stats',
        increases: new Map([
          ['generateCalls', 1],
          ['operatorErrors', 1],
        ]),
      },
    ]);
  });

  it('wipes a data key once it is written', async () => {
    const withKey: Buffer[] = [];
    const write = agentStream.write.bind(agentStream);
    agentStream.write = (chunk: Buffer, ...rest: never[]) => {
      if (chunk.includes(dataKey(wrappedKey('made 1')))) withKey.push(chunk);
      return write(chunk, ...rest);
    };
    await hello();
    send(2, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 30_000 });
    await answerTo(2);
    const key = sent('key')[0];
    expect(key).toMatchObject({ bytes: dataKey(wrappedKey('made 1')) });
    await clock.settle();
    expect(withKey).toHaveLength(1);
    expect(withKey[0]?.every((byte) => byte === 0)).toBe(true);
  });

  it('logs now and then why a request takes long, at level Off too', async () => {
    await hello();
    kms.on = (_, call) => {
      if (call < 10) throw kmsError('ThrottlingException', 'slow down');
    };
    send(2, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 60_000 });
    await clock.advance(20_000);
    await answerTo(2);
    const warnings = sent('log').flatMap((message) =>
      message.type === 'log' && message.severity === 'warning' ? [message.text] : [],
    );
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toMatch(
      /^AWS KMS GenerateDataKeyWithoutPlaintext: key 1 version 1 .*: ThrottlingException: slow down .*; trying again$/,
    );
  });

  it('ends after ten seconds without a request, but not during one', async () => {
    await hello();
    kms.on = () => clock.sleep(15_000);
    send(2, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 60_000 });
    await clock.advance(20_000);
    expect(received.some(({ request }) => request === 2)).toBe(false);
    await clock.advance(10_500);
    expect(await answerTo(2)).toEqual({ type: 'done', first: 1, second: 1 });
    await clock.advance(10_000);
    expect(await ended).toBe('closed');
  });

  it('removes secrets from its log lines and answers', async () => {
    await hello([['log_level', 'Trace']]);
    kms.on = () => {
      throw kmsError('AccessDeniedException', 'hush is not authorized');
    };
    send(2, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 60_000 });
    expect(await answerTo(2)).toMatchObject({
      type: 'fail',
      message: expect.stringContaining('(hidden) is not authorized'),
    });
    expect(JSON.stringify(sent('log'))).toContain('(hidden) is not authorized');
    expect(JSON.stringify(received)).not.toContain('hush');
  });

  it('logs KMS calls at the level that log_level selects, and never the data key', async () => {
    await hello([['log_level', 'Trace']]);
    kms.on = (operation, call) => {
      if (operation === 'Decrypt' && call === 2) throw kmsError('ThrottlingException', 'slow down');
    };
    send(2, { type: 'fetch', id: keyId(1), version: keyVersion(1), deadlineMs: 1000 });
    await answerTo(2);
    send(3, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 60_000 });
    await clock.advance(1000);
    await answerTo(3);
    const lines = sent('log').map((message) => (message.type === 'log' ? `${message.severity}: ${message.text}` : ''));
    expect(lines).toEqual(
      expect.arrayContaining([
        'note: AWS KMS GenerateDataKeyWithoutPlaintext: key 1 version 1 (master key alias/a): attempt 1 to a scripted KMS',
        expect.stringMatching(
          /^note: AWS KMS GenerateDataKeyWithoutPlaintext: key 1 version 1 \(master key alias\/a\): succeeded \(attempt 1 in us-east-1, 0 ms, request generate, master key arn:/,
        ),
        'warning: AWS KMS Decrypt: key 1 version 1: ThrottlingException: slow down (request request-of-ThrottlingException) (attempt 1 in us-east-1, 0 ms); next attempt in 100 ms',
      ]),
    );
    const key = dataKey(wrappedKey('made 1'));
    const all = lines.join('\n');
    for (const encoding of ['latin1', 'hex', 'base64'] as const) expect(all).not.toContain(key.toString(encoding));
  });
});
