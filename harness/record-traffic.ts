/**
 * Writes test/vectors/protocol-N/session.txt of the latest protocol, or the file named on the command line: the frames
 * between a real server's plugin and a real agent, as vectors and as the fuzzers' seeds. It contains every frame type of a
 * server without errors. The keys in it are data keys of an embedded KMS that ends with this command: they protect nothing.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { systemClock } from '../src/cli/system.ts';
import { startDevKms } from '../src/dev-kms/index.ts';
import { type Frame, FrameDecoder, PayloadWriter } from '../src/format/frames.ts';
import { PROTOCOL_VERSION } from '../src/format/messages.ts';
import { COMMAND, installDatabase, pluginOptions, ScratchServer, TEST_CREDENTIALS } from './scratch-server.ts';
import { conversationFile, type Recorded } from './traffic.ts';

const directory = mkdtempSync(join(tmpdir(), 'mak-record-'));
const run = join(directory, 'run');
const keys = join(directory, 'keys');
for (const path of [run, keys]) mkdirSync(path, { mode: 0o700 });
const agentSocket = join(run, 'agent');
const proxySocket = join(run, 'proxy');
/** Long enough for the statement that comes before the first look at the master keys. */
const WATCH_SECONDS = 8;
const CHECK = 0x07;
const USE = 0x09;
const recorded: Recorded[] = [];
const connections = new Set<Socket>();

/** Passes the plugin's frames on one at a time, each when the one before is answered: a conversation without overlaps. */
function relay(plugin: Socket, agent: Socket): void {
  const waiting: Frame[] = [];
  let unanswered = 0;
  const pass = (from: Recorded['from'], { type, request, payload }: Frame, to: Socket): void => {
    const bytes = Buffer.from(new PayloadWriter().bytes(payload).toFrame(type, request));
    recorded.push({ from, bytes });
    to.write(bytes);
  };
  const passNext = (): void => {
    while (unanswered === 0) {
      const frame = waiting.shift();
      if (frame === undefined) return;
      unanswered = frame.request;
      pass('plugin', frame, agent);
    }
  };
  const ofPlugin = new FrameDecoder();
  plugin.on('data', (chunk: Buffer) => {
    waiting.push(...ofPlugin.feed(chunk));
    passNext();
  });
  const ofAgent = new FrameDecoder();
  agent.on('data', (chunk: Buffer) => {
    for (const frame of ofAgent.feed(chunk)) {
      pass('agent', frame, plugin);
      if (frame.request !== 0 && frame.request === unanswered) unanswered = 0;
    }
    passNext();
  });
  for (const [one, other] of [
    [plugin, agent],
    [agent, plugin],
  ] as const) {
    one.on('close', () => other.destroy());
    one.on('error', () => other.destroy());
  }
}

/** Waits until a frame of that type was recorded, and the answer to the plugin's last frame. */
async function untilAnswered(type: number): Promise<void> {
  const found = (): boolean => recorded.some(({ bytes }) => bytes[4] === type) && recorded.at(-1)?.from === 'agent';
  for (let i = 0; i < 600 && !found(); i += 1) await systemClock.sleep(100);
  if (!found()) throw new Error(`no frame of type 0x${type.toString(16)} was seen`);
}

const kms = await startDevKms({ clock: systemClock, aliases: ['alias/mariadb-encryption'] });
const agent = spawn(COMMAND, ['agent', '--listen', agentSocket, '--keyfile-dir', keys, '--endpoint-url', kms.url], {
  env: { ...TEST_CREDENTIALS, PATH: process.env['PATH'] },
  stdio: ['ignore', 'ignore', 'pipe'],
});
const proxy = createServer((plugin) => {
  const toAgent = connect(agentSocket);
  connections.add(plugin);
  relay(plugin, toAgent);
});
const server = new ScratchServer({
  directory: join(directory, 'server'),
  options: pluginOptions('', {
    aws_key_management_agent: `unix:${proxySocket}`,
    aws_key_management_key_ids: '1-5',
    aws_key_management_log_level: 'Info',
  }),
});
try {
  await once(agent.stderr, 'data');
  proxy.listen(proxySocket);
  await once(proxy, 'listening');
  chmodSync(proxySocket, 0o600);
  const template = join(directory, 'template');
  mkdirSync(template);
  await installDatabase(join(template, 'data'));
  server.copyDatabase(join(template, 'data'));
  await server.start();
  await server.sql('CREATE DATABASE d');
  for (const statement of [
    'CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3',
    'SET GLOBAL aws_key_management_rotate_key=3',
    "SET GLOBAL aws_key_management_key_spec='AES_256'",
    'SET GLOBAL aws_key_management_encryption_algorithm=AES_CTR',
    'SET GLOBAL aws_key_management_rotate_key=-1',
    'CREATE TABLE d.u (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=9',
  ])
    await server.sql(statement).catch(() => undefined);
  kms.faults.set([{ kind: 'error', name: 'AccessDeniedException', status: 400, message: 'no' }]);
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1').catch(() => undefined);
  kms.faults.set([]);
  // A second agent, for a server that has its keys already.
  for (const connection of connections) connection.destroy();
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
  await server.stop();
  server.options = {
    ...server.options,
    aws_key_management_allow_missing_keys: 'ON',
    aws_key_management_watch_interval: WATCH_SECONDS,
  };
  kms.faults.set([{ operation: 'Decrypt', kind: 'error', name: 'AccessDeniedException', status: 400, message: 'no' }]);
  await server.start();
  await server.sql('SELECT * FROM d.t').catch(() => undefined);
  kms.faults.set([]);
  for (const type of [CHECK, USE]) await untilAnswered(type);
  await server.stop();
  const file = process.argv[2] ?? conversationFile(PROTOCOL_VERSION);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, recorded.map(({ from, bytes }) => `${from} ${bytes.toString('hex')}\n`).join(''));
  console.log(`${recorded.length} frames in ${file}`);
} finally {
  await server.kill();
  agent.kill('SIGKILL');
  proxy.close();
  await kms.close();
  rmSync(directory, { recursive: true, force: true });
}
