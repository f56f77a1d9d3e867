import { execFile, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { COMMAND, PATH, pluginOptions, TEST_ACCESS_KEYS_FILE, TEST_CREDENTIALS } from '../../harness/scratch-server.ts';
import { newServer, startKms } from '../support/lab.ts';
import { PluginEnd } from '../support/plugin-end.ts';
import { cleanUp, scratchDirectory, until } from '../support/scratch.ts';

interface Outcome {
  readonly status: number;
  readonly stderr: string;
}

async function command(...args: string[]): Promise<Outcome> {
  return await promisify(execFile)(COMMAND, args, { env: { PATH } }).then(
    ({ stderr }) => ({ status: 0, stderr }),
    (error: { code: number; stderr: string }) => ({ status: error.code, stderr: error.stderr }),
  );
}

function privateDirectory(mode = 0o700): string {
  const directory = join(scratchDirectory(), 'run');
  mkdirSync(directory);
  chmodSync(directory, mode);
  return directory;
}

it('an agent without a socket refuses to run and explains how to start one', async () => {
  const { status, stderr } = await command('agent');
  expect(status).toBe(2);
  expect(stderr).toBe(
    'mariadb-aws-kms: error: descriptor 3 is not a socket: only the aws_key_management plugin starts an agent so\n' +
      'hint: to run an agent of its own: mariadb-aws-kms agent --listen /run/mariadb-aws-kms/agent.sock --keyfile-dir DIR\n',
  );
});

it('an agent refuses to listen without a key directory', async () => {
  const { status, stderr } = await command('agent', '--listen', join(privateDirectory(), 's'));
  expect(status).toBe(2);
  expect(stderr).toMatch(/^mariadb-aws-kms: error: --listen needs --keyfile-dir\nhint: /);
});

it.each([0o755, 0o770, 0o701, 0o777, 0o1777])('an agent refuses a socket directory of mode %o', async (mode) => {
  const { status, stderr } = await command(
    'agent',
    '--keyfile-dir',
    '/tmp',
    '--listen',
    join(privateDirectory(mode), 's'),
  );
  expect(status).toBe(2);
  expect(stderr).toMatch(/has mode 0\d{3}: others could take the keys\nhint: chmod 0750/);
});

it('an agent refuses a socket path that is taken by another file, too long, or in a missing directory', async () => {
  const directory = privateDirectory();
  writeFileSync(join(directory, 'file'), '');
  const listen = async (path: string): Promise<string> =>
    (await command('agent', '--keyfile-dir', '/tmp', '--listen', path)).stderr;
  expect(await listen(join(directory, 'file'))).toMatch(/file exists and is not a socket\n/);
  expect(await listen(join(directory, 'x'.repeat(108)))).toMatch(/a socket path has at most 107 bytes, got \d+\n/);
  expect(await listen('/nowhere/s')).toMatch(/the socket's directory \/nowhere cannot be used: .*ENOENT/);
});

it('an agent refuses a socket that another agent listens on', async () => {
  const directory = privateDirectory();
  const socket = join(directory, 's');
  const first = spawn(COMMAND, ['agent', '--keyfile-dir', directory, '--listen', socket], {
    env: { PATH },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  cleanUp(() => {
    first.kill('SIGKILL');
  });
  let said = '';
  first.stderr.on('data', (text: Buffer) => (said += text.toString()));
  await until('the agent listens', () => said.includes(`listens on ${socket}`));
  const { status, stderr } = await command('agent', '--keyfile-dir', directory, '--listen', socket);
  expect(status).toBe(2);
  expect(stderr).toContain(`another agent listens on ${socket}`);
  first.kill('SIGTERM');
  await new Promise((resolve) => first.on('exit', resolve));
  expect(first.exitCode).toBe(0);
});

it('an agent finds the shared credentials file under the variable of the C++ SDK', async () => {
  const kms = await startKms();
  const file = join(scratchDirectory(), 'credentials');
  writeFileSync(file, TEST_ACCESS_KEYS_FILE);
  const server = newServer(pluginOptions(kms.url), { environment: { AWS_CREDENTIAL_PROFILES_FILE: file } });
  await server.start();
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES');
  expect(server.environment).not.toHaveProperty('AWS_ACCESS_KEY_ID', TEST_CREDENTIALS['AWS_ACCESS_KEY_ID']);
});

/** An agent that listens and needs no AWS. */
async function listeningAgent(): Promise<{
  readonly pid: number;
  readonly socket: string;
  readonly said: () => string;
}> {
  const directory = privateDirectory();
  const socket = join(directory, 's');
  const agent = spawn(COMMAND, ['agent', '--mock', '--keyfile-dir', directory, '--listen', socket], {
    env: { PATH },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  cleanUp(() => void agent.kill('SIGKILL'));
  let said = '';
  agent.stderr.on('data', (text: Buffer) => (said += text.toString()));
  await until('the agent listens', () => said.includes(`listens on ${socket}`), 60);
  if (agent.pid === undefined) throw new Error('no agent runs');
  return { pid: agent.pid, socket, said: () => said };
}

function connectTo(socket: string): PluginEnd {
  const plugin = new PluginEnd(connect(socket));
  cleanUp(() => void plugin.socket.destroy());
  return plugin;
}

it('a listening agent closes connections beyond the 32nd, logs that once, and accepts one again when another has gone', async () => {
  const { socket, said } = await listeningAgent();
  const plugins = Array.from({ length: 32 }, () => connectTo(socket));
  await Promise.all(plugins.map(async (plugin) => expect(await plugin.hello()).toMatchObject({ type: 'welcome' })));
  for (let extra = 0; extra < 3; extra += 1) {
    const refused = connectTo(socket);
    await until('it is closed', () => refused.socket.destroyed, 60);
  }
  await until('the agent has said so', () => said().includes('connection refused'), 60);
  expect(said().match(/error: connection refused: 32 are open/g)).toHaveLength(1);
  plugins[0]?.socket.destroy();
  await until(
    'another plugin is served',
    async () =>
      await connectTo(socket)
        .hello()
        .then(
          () => true,
          () => false,
        ),
    60,
  );
});

it('an agent serves 20,000 LOADs of one connection without growing, and another plugin at the same time', {
  timeout: 300_000,
}, async () => {
  const { pid, socket } = await listeningAgent();
  const plugin = connectTo(socket);
  await plugin.hello();
  const loads = 20_000;
  for (let request = 2; request < loads + 2; request += 1)
    plugin.send(request, { type: 'load', deadlineMs: 4_000_000_000 });
  const other = connectTo(socket);
  expect(await other.hello()).toMatchObject({ type: 'welcome' });
  await until(
    'all are answered',
    () => plugin.received.filter(({ message }) => message.type === 'done').length === loads,
    240,
  );
  const [, peakKb = ''] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  // The limit includes about 120 MB for the runtime; an earlier agent took 870 MB.
  expect(Number(peakKb) / 1024).toBeLessThan(400);
});
