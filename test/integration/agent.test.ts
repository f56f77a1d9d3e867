import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { hasEnded } from '../../harness/children.ts';
import { AGENT, COMMAND, pluginOptions, TEST_CREDENTIALS } from '../../harness/scratch-server.ts';
import { agentsOf, newServer, startKms, startServer } from '../support/lab.ts';
import { compile } from '../support/native.ts';
import { cleanUp, scratchDirectory, until } from '../support/scratch.ts';

async function theAgent(server: Parameters<typeof agentsOf>[0]): Promise<number> {
  const [pid, ...others] = await agentsOf(server);
  expect(others).toEqual([]);
  if (pid === undefined) throw new Error('no agent runs');
  return pid;
}

function commandLine(pid: number): string[] {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
}

it('an agent killed with -9 while the server writes disturbs nothing, and the next rotation works', async () => {
  const kms = await startKms();
  const server = await startServer(kms, { innodb_encrypt_tables: 'ON', innodb_encryption_threads: 2 });
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (id INT AUTO_INCREMENT PRIMARY KEY, t CHAR(200)) ENGINE=InnoDB ENCRYPTED=YES');
  const writer = await server.connect();
  let stop = false;
  let rows = 0;
  const writing = (async () => {
    for (; !stop; rows += 1) await writer.query("INSERT INTO d.t (t) VALUES (REPEAT('x', 200))");
  })();
  for (let i = 0; i < 5; i += 1) {
    process.kill(await theAgent(server), 'SIGKILL');
    const before = rows;
    await until('some more rows are written', () => rows > before + 20);
    await until('the next rotation works', async () => {
      return await server.sql('SET GLOBAL aws_key_management_rotate_key=1').then(
        () => true,
        () => false,
      );
    });
  }
  stop = true;
  await writing;
  expect(await server.sql('SELECT COUNT(*) AS n FROM d.t')).toEqual([{ n: rows }]);
  expect(await server.variable('STATUS', 'Aws_key_management_key_1_latest_version')).toBe('6');
  // The error is logged once for each end, not once per page.
  expect(server.log.match(/AWS KMS plugin: the agent ended \(signal 9/g)?.length).toBe(5);
  await server.restart();
  expect(await server.sql('SELECT COUNT(*) AS n FROM d.t')).toEqual([{ n: rows }]);
});

it('a new agent creates no key in a directory that lists fewer keys than the server has', async () => {
  const kms = await startKms();
  const keys = scratchDirectory();
  const server = await startServer(kms, { aws_key_management_keyfile_dir: keys });
  await server.sql('CREATE DATABASE d');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
  process.kill(await theAgent(server), 'SIGKILL');
  renameSync(keys, `${keys}.away`);
  mkdirSync(keys, { mode: 0o700 });
  const create = 'CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=7';
  await expect(server.sql(create)).rejects.toThrow(/errno: 140/);
  await expect(server.sql('SET GLOBAL aws_key_management_rotate_key=1')).rejects.toThrow(
    /aws-kms-key\.1\.1 and 1 more are not in \S+ any more, and the server has the keys of those files in use: nothing is created there/,
  );
  expect(readdirSync(keys)).toEqual([]);
  rmdirSync(keys);
  renameSync(`${keys}.away`, keys);
  // A failure is remembered for a second.
  await until('the table is made', () =>
    server.sql(create).then(
      () => true,
      () => false,
    ),
  );
  expect(readdirSync(keys)).toContain('aws-kms-key.7.1');
});

it('an idle agent ends by itself, leaves no zombie, and is started again for a rotation', async () => {
  const server = await startServer(await startKms());
  await theAgent(server);
  await until('the agent has ended', async () => (await agentsOf(server)).length === 0, 30);
  expect(await server.variable('STATUS', 'Aws_key_management_agent_state')).toBe('idle');
  const quiet = server.log.length;
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
  expect(await server.variable('STATUS', 'Aws_key_management_agent_state')).toBe('running');
  expect(await server.variable('STATUS', 'Aws_key_management_agent_starts')).toBe('2');
  expect(server.log.slice(quiet)).not.toMatch(/\[(ERROR|Warning)\]/);
});

it('an agent ends when the server is killed', async () => {
  const server = await startServer(await startKms());
  const agent = await theAgent(server);
  await server.kill();
  await until('the agent has ended', () => hasEnded(agent));
});

it('an agent gets a clean environment, three descriptors and its socket, and dumps no core', async () => {
  const kms = await startKms();
  const server = newServer(pluginOptions(kms.url), {
    environment: {
      ...TEST_CREDENTIALS,
      HOME: '/home/of/somebody/else',
      NODE_OPTIONS: '--require=/nowhere/evil.cjs',
      NODE_EXTRA_CA_CERTS: '/nowhere/ca.pem',
      LD_LIBRARY_PATH: '/nowhere',
      SECRET_OF_THE_SERVER: 'x',
      NO_PROXY: '127.0.0.1',
      AWS_MAX_ATTEMPTS: '7',
    },
  });
  await server.start();
  const agent = await theAgent(server);
  const environment = new Map(
    readFileSync(`/proc/${agent}/environ`, 'utf8')
      .split('\0')
      .filter((entry) => entry !== '')
      .map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)] as const),
  );
  const { stdout } = await promisify(execFile)('getent', ['passwd', String(process.getuid?.())]);
  expect(environment.get('HOME')).toBe(stdout.split(':')[5]);
  expect([...environment.keys()].sort()).toEqual(
    expect.arrayContaining([
      'AWS_ACCESS_KEY_ID',
      'AWS_MAX_ATTEMPTS',
      'AWS_SECRET_ACCESS_KEY',
      'HOME',
      'LOGNAME',
      'NO_PROXY',
      'PATH',
      'USER',
    ]),
  );
  for (const name of environment.keys()) expect(name).not.toMatch(/^(NODE_|LD_|SECRET_)/);

  // Descriptors above 3 are Node's own: none of a file of the server.
  const descriptors = readdirSync(`/proc/${agent}/fd`).map(
    (fd) => [Number(fd), readlinkSync(`/proc/${agent}/fd/${fd}`)] as const,
  );
  expect(descriptors.find(([fd]) => fd === 0)?.[1]).toBe('/dev/null');
  expect(descriptors.find(([fd]) => fd === 1)?.[1]).toBe(server.logFile);
  expect(descriptors.find(([fd]) => fd === 3)?.[1]).toMatch(/^socket:/);
  for (const [fd, target] of descriptors) {
    if (fd > 3) expect(target).toMatch(/^(anon_inode:|pipe:|socket:|\/dev\/null|\/proc\/|\/sys\/fs\/cgroup)/);
    expect(target).not.toContain(server.datadir);
  }
  const limits = readFileSync(`/proc/${agent}/limits`, 'utf8');
  expect(limits).toMatch(/Max core file size +[01] +[01] +bytes/);
  expect(commandLine(agent)).toEqual([AGENT, 'agent', '--node-options=--no-jitless']);
});

it('an agent works in a server that may not map writable and executable memory', async () => {
  const kms = await startKms();
  const denied = compile('deny_write_exec', 'program');
  // A control: with a JIT the agent's program does not run under this restriction.
  const withJit = await promisify(execFile)(denied, [process.execPath, '-e', '0']).then(
    () => 'ran',
    () => 'failed',
  );
  expect(withJit).toBe('failed');
  const server = newServer(pluginOptions(kms.url), { launcher: [denied] });
  await server.start();
  expect(commandLine(await theAgent(server))).toEqual([AGENT, 'agent']);
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  expect(server.log).not.toContain('node:');
  expect(await server.variable('STATUS', 'Aws_key_management_key_3_latest_version')).toBe('2');
});

it('an agent that does not answer is given up: the statement fails, and the next one gets a new agent', async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  const stopped = await theAgent(server);
  process.kill(stopped, 'SIGSTOP');
  const logged = server.log.length;
  const started = performance.now();
  await expect(server.sql('SET GLOBAL aws_key_management_rotate_key=1')).rejects.toThrow(/AWS KMS plugin: the agent/);
  expect(performance.now() - started).toBeLessThan(60_000);
  expect(existsSync(`/proc/${stopped}`)).toBe(false);
  const told = server.log.slice(logged).match(/\[(?:ERROR|Warning)\] .*AWS KMS plugin: .*/g) ?? [];
  expect(told).toEqual([
    expect.stringMatching(/^\[Warning\] .*: the agent did not answer within 30 seconds, .*; loaded keys stay in use/),
    expect.stringMatching(/^\[ERROR\] .*: rotation of key 1: the agent did not answer within 30 seconds/),
  ]);
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
  expect(await server.variable('STATUS', 'Aws_key_management_key_1_latest_version')).toBe('2');
});

it.each([
  [
    'answers garbage',
    '#!/bin/sh\nprintf "HTTP/1.1 400 Bad Request\\r\\n\\r\\n" >&3\nsleep 60\n',
    /the agent broke the protocol/,
  ],
  ['ends at once', '#!/bin/sh\nexit 7\n', /the agent ended \(exit status 7\)/],
  [
    'starts what is not there',
    '#!/bin/sh\nexec /nowhere/agent\n',
    /the agent ended \(exit status 127: '\/.*agent', or what it starts, could not be executed, or lacks a library: /,
  ],
  ['is no program', 'not a program', /cannot start/],
])('an agent that %s keeps the server from starting, and the log names the reason', async (_, script, reason) => {
  const kms = await startKms();
  const agent = join(scratchDirectory(), 'agent');
  writeFileSync(agent, script);
  chmodSync(agent, 0o755);
  const server = newServer(
    pluginOptions(kms.url, { aws_key_management_agent: agent, aws_key_management_start_timeout: 5 }),
  );
  await expect(server.start()).rejects.toThrow(reason);
});

it('a server waits for an agent on a unix socket, uses it and survives its restart', async () => {
  const kms = await startKms();
  const directory = scratchDirectory();
  chmodSync(directory, 0o700);
  const socket = join(directory, 'agent.sock');
  const keys = join(directory, 'keys');
  mkdirSync(keys);
  const startAgent = async () => {
    const agent = spawn(COMMAND, ['agent', '--listen', socket, '--keyfile-dir', keys, '--endpoint-url', kms.url], {
      env: { ...TEST_CREDENTIALS, PATH: process.env['PATH'] },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    cleanUp(() => {
      agent.kill('SIGKILL');
    });
    return agent;
  };
  // The server has no AWS credentials, and is started before the agent.
  const server = newServer(pluginOptions('', { aws_key_management_agent: `unix:${socket}` }), { environment: {} });
  const starting = server.start();
  await new Promise((resolve) => setTimeout(resolve, 500));
  const first = await startAgent();
  await starting;
  expect(await agentsOf(server)).toEqual([]);
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  expect(readdirSync(keys).sort()).toContain('aws-kms-key.3.1');
  first.kill('SIGKILL');
  await once(first, 'exit');
  await server.sql('INSERT INTO d.t VALUES (1)');
  // The socket of the killed agent is stale; the next one replaces it.
  await startAgent();
  await until('the next rotation works', async () => {
    return await server.sql('SET GLOBAL aws_key_management_rotate_key=3').then(
      () => true,
      () => false,
    );
  });
  expect(await server.variable('STATUS', 'Aws_key_management_key_3_latest_version')).toBe('2');
});

it.each<[string, (directory: string) => Promise<string> | string, RegExp]>([
  [
    'is not a socket',
    (directory) => {
      writeFileSync(join(directory, 's'), '');
      return join(directory, 's');
    },
    /is not a socket/,
  ],
  ['is too long', (directory) => join(directory, 'x'.repeat(120)), /aws_key_management_agent.*107 bytes/],
  [
    'has no listener',
    async (directory) => {
      const path = join(directory, 's');
      const server = createServer().listen(path);
      await once(server, 'listening');
      // Closing unlinks the socket; a copy of its name stays behind as after a kill.
      linkSync(path, `${path}2`);
      await promisify(server.close.bind(server))();
      return `${path}2`;
    },
    /nobody listens|no agent listens/,
  ],
  ['is absent', (directory) => join(directory, 'none'), /none/],
])('a socket path that %s has its own message', async (_, make, reason) => {
  const kms = await startKms();
  const path = await make(scratchDirectory());
  const server = newServer(
    pluginOptions(kms.url, { aws_key_management_agent: `unix:${path}`, aws_key_management_start_timeout: 1 }),
  );
  await expect(server.start()).rejects.toThrow(/Failed to initialize plugins/);
  expect(server.log).toMatch(new RegExp(`\\[ERROR\\] .*AWS KMS plugin: .*(${reason.source})`));
});

it('a server refuses an agent on the socket of another user, and accepts the owner of the directory', async () => {
  expect(process.getuid?.(), 'this test needs root, which runs a listener of another user').toBe(0);
  const stranger = 65_534;
  const kms = await startKms();
  const scratch = scratchDirectory();
  chmodSync(scratch, 0o755);
  const directory = join(scratch, 'run');
  mkdirSync(directory);
  chmodSync(directory, 0o777);
  const socket = join(directory, 's');
  const listener = spawn(process.execPath, ['-e', `require('node:net').createServer().listen('${socket}')`], {
    uid: stranger,
    stdio: 'ignore',
  });
  cleanUp(() => {
    listener.kill('SIGKILL');
  });
  await until('the stranger listens', () => existsSync(socket));
  const options = { aws_key_management_agent: `unix:${socket}`, aws_key_management_start_timeout: 1 };
  await expect(newServer(pluginOptions(kms.url, options)).start()).rejects.toThrow(
    /AWS KMS plugin: refused the agent on '.*': it runs as user id 65534, expected 0, our own 0, or 0 who owns its directory/,
  );
  chownSync(directory, stranger, stranger);
  // The silent agent received the HELLO.
  await expect(newServer(pluginOptions(kms.url, options)).start()).rejects.toThrow(/did not answer HELLO within/);
});

it('a server reports the mode of a socket directory that it may not enter', async () => {
  expect(process.getuid?.(), 'this test needs root, which runs a server of another user').toBe(0);
  const directory = scratchDirectory();
  chmodSync(directory, 0o755);
  const closed = join(directory, 'run');
  mkdirSync(closed, { mode: 0o700 });
  const socket = join(closed, 's');
  const listener = createServer().listen({ path: socket, readableAll: true, writableAll: true });
  cleanUp(() => promisify(listener.close.bind(listener))());
  await once(listener, 'listening');
  const options = { aws_key_management_agent: `unix:${socket}`, aws_key_management_start_timeout: 1 };
  await expect(newServer(pluginOptions('', options), { user: 'nobody' }).start()).rejects.toThrow(
    /AWS KMS plugin: user id 65534 may not connect to '.*\/run\/s': permission denied/,
  );
});

it('a start waits for its separate agent with a warning, and is told of the flags of that agent when KMS is away', async () => {
  const directory = scratchDirectory();
  const keys = join(directory, 'keys');
  const socket = join(directory, 's');
  mkdirSync(keys);
  const options = { aws_key_management_agent: `unix:${socket}`, aws_key_management_start_timeout: 6 };
  const server = newServer(pluginOptions('', options));
  const starting = server.start();
  starting.catch(() => undefined);
  await until('the start says that it waits', () => server.log.includes('; waiting up to '));
  expect(server.log).toMatch(
    /\[Warning\] .*AWS KMS plugin: no agent listens on '\S+': there is no such socket; .*journalctl -u mariadb-aws-kms-agent; waiting up to \d s/,
  );
  const agent = spawn(
    COMMAND,
    ['agent', '--listen', socket, '--keyfile-dir', keys, '--endpoint-url', 'http://127.0.0.1:9'],
    {
      env: { PATH: process.env['PATH'], ...TEST_CREDENTIALS },
      stdio: 'ignore',
    },
  );
  cleanUp(() => void agent.kill('SIGKILL'));
  await starting;
  await server.sql('CREATE DATABASE d');
  await expect(server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3')).rejects.toThrow(
    'Wrong create options',
  );
  expect(server.log).toMatch(
    /\[ERROR\] .*AWS KMS plugin: key 3 .*; the agent must reach the KMS endpoint: check the agent's --region, the agent's --endpoint-url, DNS/,
  );
  expect(server.log).not.toMatch(/check aws_key_management_region|setsebool/);
}, 60_000);
