/** Effects of signals, variables and arguments of the runtime on the shipped executable: the table in SECURITY.md. */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { connect, Socket } from 'node:net';
import { constants } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { AGENT, COMMAND, PATH, TEST_CREDENTIALS } from '../../harness/scratch-server.ts';
import { keyId } from '../../src/ids.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { tlsFront } from '../support/fronts.ts';
import { startKms } from '../support/lab.ts';
import { PluginEnd } from '../support/plugin-end.ts';
import { cleanUp, scratchDirectory, until } from '../support/scratch.ts';

const SECRET = TEST_CREDENTIALS['AWS_SECRET_ACCESS_KEY'] ?? '';
const DEBUGGER_PORT = '9229';

interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  /** The directory that the agent was started in. */
  readonly directory: string;
  /** All output of the agent. */
  said(): string;
}

function start(
  program: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
  stdio: readonly ('ignore' | 'pipe')[] = ['ignore', 'pipe', 'pipe'],
): Running {
  const directory = scratchDirectory();
  const child = spawn(program, args, {
    cwd: directory,
    env: { ...TEST_CREDENTIALS, PATH, ...environment },
    stdio: [...stdio],
  });
  cleanUp(() => void child.kill('SIGKILL'));
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (text: Buffer) => (said += text.toString()));
  if (child.pid === undefined) throw new Error(`${program} cannot be started`);
  return { child, pid: child.pid, directory, said: () => said };
}

interface Agent extends Running {
  readonly plugin: PluginEnd;
}

/** Starts an agent for `aws_key_management_agent = unix:...`. */
async function startListening(
  environment: NodeJS.ProcessEnv = {},
  more: readonly string[] = ['--mock'],
): Promise<Agent> {
  const directory = scratchDirectory();
  chmodSync(directory, 0o700);
  const [path, keys] = [join(directory, 's'), join(directory, 'keys')];
  mkdirSync(keys);
  const running = start(COMMAND, ['agent', '--listen', path, '--keyfile-dir', keys, ...more], environment);
  await until('the agent listens', () => running.said().includes('listens on'), 60);
  const socket = connect(path);
  cleanUp(() => void socket.destroy());
  return { ...running, plugin: new PluginEnd(socket) };
}

/** As a plugin starts it. */
async function startOnDescriptor(environment: NodeJS.ProcessEnv = {}): Promise<Agent> {
  const stdio = ['ignore', 'pipe', 'pipe', 'pipe'] as const;
  const running = start(AGENT, ['agent', '--node-options=--no-jitless'], environment, stdio);
  const socket = running.child.stdio[3];
  if (!(socket instanceof Socket)) throw new Error('no socket pair');
  return { ...running, plugin: new PluginEnd(socket) };
}

const AGENTS = [
  ['that a plugin starts', startOnDescriptor],
  ['that listens', startListening],
] as const;

async function welcome(agent: Agent): Promise<void> {
  const keys = scratchDirectory();
  expect(await agent.plugin.hello({ mock: 'ON', keyfile_dir: keys })).toMatchObject({ type: 'welcome' });
}

/** Addresses that the process listens on over TCP. */
function listens(pid: number): readonly string[] {
  const sockets = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return '';
    }
  });
  return ['tcp', 'tcp6'].flatMap((kind) =>
    readFileSync(`/proc/${pid}/net/${kind}`, 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , , state, , , , , , inode]) => state === '0A' && sockets.includes(`socket:[${inode}]`))
      .map(([, address = '']) => address),
  );
}

function hasEnded({ child }: Running): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function ended(running: Running): Promise<void> {
  if (!hasEnded(running)) await once(running.child, 'exit');
}

describe.each(AGENTS)('an agent %s', (_, startAgent) => {
  it('opens, writes and prints nothing at any signal', { timeout: 600_000 }, async () => {
    const survived: string[] = [];
    let agent: Agent | undefined;
    let request = 1;
    for (const signal of Object.keys(constants.signals) as NodeJS.Signals[]) {
      if (agent === undefined) {
        agent = await startAgent();
        await welcome(agent);
        request = 1;
      }
      const before = agent.said();
      agent.child.kill(signal);
      // A stopped process continues.
      agent.child.kill('SIGCONT');
      request += 1;
      const alive = await agent.plugin.ask(request, { type: 'check', deadlineMs: 60_000 }).then(
        () => true,
        () => false,
      );
      if (alive) {
        survived.push(signal);
        expect(listens(agent.pid), signal).toEqual([]);
      } else await ended(agent);
      expect(agent.said(), signal).toBe(before);
      expect(readdirSync(agent.directory), signal).toEqual([]);
      if (!alive) agent = undefined;
    }
    // All others end it. With --disable-sigusr1, SIGUSR1 has no effect.
    expect(survived).toContain('SIGUSR1');
    expect(survived).not.toContain('SIGTERM');
    expect(survived).not.toContain('SIGSEGV');
  });
});

it('no other command opens a debugger at SIGUSR1', async () => {
  const kms = start(COMMAND, ['dev-kms']);
  await until('it listens', () => kms.said().includes('controls:'), 60);
  const before = listens(kms.pid);
  expect(before).toHaveLength(1);
  kms.child.kill('SIGUSR1');
  const [url = ''] = /http:\S+/.exec(kms.said()) ?? [];
  expect((await fetch(`${url}/_dev/calls`)).status).toBe(200);
  expect(listens(kms.pid)).toEqual(before);
});

/** Each variable would write a file or a line, or read from elsewhere, if the runtime used it. */
const VARIABLES: readonly (readonly [name: string, value: string])[] = [
  ['NODE_COMPILE_CACHE', 'cache'],
  ['NODE_EXTRA_CA_CERTS', '/nowhere'],
  ['NODE_ICU_DATA', '/nowhere'],
  ['NODE_OPTIONS', `--inspect=127.0.0.1:${DEBUGGER_PORT} --require=/nowhere`],
  ['NODE_PATH', '/nowhere'],
  ['NODE_PENDING_DEPRECATION', '1'],
  ['NODE_REDIRECT_WARNINGS', 'warnings'],
  ['NODE_TLS_REJECT_UNAUTHORIZED', '0'],
  ['NODE_UNIQUE_ID', '1'],
  ['NODE_USE_ENV_PROXY', '1'],
  ['NODE_USE_SYSTEM_CA', '1'],
  ['NODE_V8_COVERAGE', 'coverage'],
  ['OPENSSL_CONF', '/nowhere'],
  ['OPENSSL_ENGINES', '/nowhere'],
  ['OPENSSL_MODULES', '/nowhere'],
  ['ICU_DATA', '/nowhere'],
];
/** Variables without effect on the program; children such as a credential process may need them. */
const WITHOUT_EFFECT = [
  ['SSLKEYLOGFILE', 'keys'],
  ['SSL_CERT_DIR', '/nowhere'],
  ['UV_THREADPOOL_SIZE', '3'],
  ['UV_USE_IO_URING', '1'],
  ['NO_COLOR', '1'],
  ['FORCE_COLOR', '3'],
  ['TZ', 'UTC'],
] as const;

function environmentOf(pid: number): readonly string[] {
  return readFileSync(`/proc/${pid}/environ`, 'utf8')
    .split('\0')
    .map((entry) => entry.split('=')[0] ?? '');
}

function filesBelow(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map(({ name }) => name);
}

it('a listening agent runs without the variables of its runtime', { timeout: 120_000 }, async () => {
  const agent = await startListening(Object.fromEntries(VARIABLES));
  await welcome(agent);
  await agent.plugin.ask(2, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 60_000 });
  for (const [name] of VARIABLES) expect(environmentOf(agent.pid)).not.toContain(name);
  expect(environmentOf(agent.pid)).toContain('AWS_SECRET_ACCESS_KEY');
  expect(listens(agent.pid)).toEqual([]);
  agent.child.kill('SIGTERM');
  await ended(agent);
  expect(agent.child.exitCode).toBe(0);
  expect(filesBelow(agent.directory)).toEqual([]);
  // Node.js reads the certificates in another thread, and warns if it comes to that before the agent replaces itself.
  const said = agent.said().replace(/^Warning: Ignoring extra certs from `\/nowhere`, .*\n/, '');
  expect(said).toMatch(/^mariadb-aws-kms: agent \S+ listens on \S+\n$/);
});

it.each(['NODE_DEBUG', 'NODE_DEBUG_NATIVE'])(
  '%s makes the running program print nothing',
  { timeout: 120_000 },
  async (name) => {
    const { agent, answer } = await askOverTls({ [name]: 'net,tls,http,https,ENV_PROXY,TLS' }, 'trusted');
    expect(answer).toMatchObject({ type: 'done' });
    expect(agent.said()).toMatch(/listens on \S+\n$/);
    expect(agent.said()).not.toContain(SECRET);
  },
);

it('NODE_REPL_EXTERNAL_MODULE ends a command before it begins', async () => {
  const running = start(COMMAND, ['--version'], { NODE_REPL_EXTERNAL_MODULE: '/nowhere' });
  await ended(running);
  expect(running.child.exitCode).toBe(9);
});

it.each(WITHOUT_EFFECT)('%s has no effect on a call over TLS', { timeout: 120_000 }, async (name, value) => {
  const { agent, answer } = await askOverTls({ [name]: value }, 'trusted');
  expect(answer).toMatchObject({ type: 'done' });
  agent.child.kill('SIGTERM');
  await ended(agent);
  expect(filesBelow(agent.directory)).toEqual([]);
  expect(agent.said()).toMatch(/^mariadb-aws-kms: agent \S+ listens on \S+\n$/);
});

it('an agent closes a descriptor named in NODE_CHANNEL_FD and reads nothing from it', {
  timeout: 120_000,
}, async () => {
  const directory = scratchDirectory();
  chmodSync(directory, 0o700);
  const args = ['agent', '--listen', join(directory, 's'), '--keyfile-dir', directory, '--mock'];
  const running = start(COMMAND, args, { NODE_CHANNEL_FD: '3' }, ['ignore', 'pipe', 'pipe', 'pipe']);
  const channel = running.child.stdio[3];
  if (!(channel instanceof Socket)) throw new Error('no socket pair');
  let isClosed = false;
  channel.on('close', () => (isClosed = true)).resume();
  await until('the agent listens', () => running.said().includes('listens on'), 60);
  await until('the channel is closed', () => isClosed);
});

it('an agent refuses to run when a wrapper starts it for the plugin with runtime variables', {
  timeout: 120_000,
}, async () => {
  const agent = await startOnDescriptor(Object.fromEntries(VARIABLES));
  await ended(agent);
  expect(agent.child.exitCode).toBe(2);
  const [, names = ''] = /error: the agent was started with (.*) in its environment\n/.exec(agent.said()) ?? [];
  expect(names.split(', ').sort()).toEqual(VARIABLES.map(([name]) => name).sort());
  expect(agent.said()).toContain('take it out of the program that aws_key_management_agent names');
  expect(filesBelow(agent.directory)).toEqual([]);
});

describe('the argument --node-options', () => {
  const refused = [
    '--inspect=0',
    '--heapsnapshot-signal=SIGUSR2',
    '--report-on-signal',
    '--report-uncaught-exception',
    '--tls-keylog=keys',
    '--trace-tls',
    '--trace-uncaught',
    '--use-openssl-ca',
    '--use-system-ca',
    '--tls-min-v1.0',
    '--cpu-prof',
    '--diagnostic-dir=.',
    '--no-disable-sigusr1',
    '--no-jitless --abort-on-uncaught-exception',
  ];
  it.each(refused)('%s is refused by name', { timeout: 60_000 }, async (options) => {
    const running = start(AGENT, ['agent', `--node-options=${options}`]);
    await ended(running);
    expect(running.child.exitCode).toBe(2);
    const named = options.replace('--no-jitless ', '');
    expect(running.said()).toContain(`mariadb-aws-kms: error: --node-options: ${named} is not allowed\n`);
    expect(running.said()).not.toContain(SECRET);
  });

  it('every command accepts --no-jitless, as older plugins in memory pass it', async () => {
    const { stdout } = await promisify(execFile)(COMMAND, ['--version', '--node-options=--no-jitless']);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+ \([0-9a-f]{12}(?:-dirty)?\)\n$/);
  });

  it.each([
    ['runs with a JIT', [], '--node-options=--no-jitless'],
    ['runs without one where it is told so', ['--node-options=--jitless'], undefined],
    [
      'loses variables of the runtime as well',
      ['--node-options=--jitless'],
      '--node-options=--jitless',
      'NODE_OPTIONS',
    ],
  ] as const)('a verb that reads much %s', { timeout: 60_000 }, async (_, given, added, variable: string = 'OTHER') => {
    const datadir = scratchDirectory();
    mkdirSync(join(datadir, 'db'));
    for (let table = 0; table < 8_000; table += 1) writeFileSync(join(datadir, 'db', `t${table}.ibd`), 'none');
    const verb = ['audit', '--json', '--no-defaults', '--datadir', datadir];
    // Nobody reads the output: more than a pipe takes keeps the process.
    const child = spawn(COMMAND, [...verb, ...given], {
      env: { PATH, [variable]: '--no-warnings' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    cleanUp(() => void child.kill('SIGKILL'));
    await once(child.stdout, 'readable');
    const expected = added === undefined ? [...verb, ...given] : [added, ...verb];
    expect(readFileSync(`/proc/${child.pid}/cmdline`, 'utf8').split('\0').slice(0, -1)).toEqual([COMMAND, ...expected]);
    expect(child.exitCode).toBeNull();
  });

  it.each(['--inspect', '--require=/nowhere', '--report-on-signal', '--v8-options', '-e'])(
    'commands do not know %s as a separate argument',
    async (option) => {
      const running = start(COMMAND, [option]);
      await ended(running);
      expect(running.child.exitCode).toBe(2);
      expect(running.said()).toContain(`error: unknown option '${option}'`);
    },
  );
});

/** Has a listening agent create a key at an endpoint whose certificate was issued by a private authority. */
async function askOverTls(environment: NodeJS.ProcessEnv, what: 'trusted' | 'not trusted') {
  const kms = await startKms();
  const authority = new CertificateAuthority();
  const root = authority.issue();
  const front = await tlsFront(kms.url, authority.issue({ issuer: root, hosts: 'IP:127.0.0.1' }));
  const named = Object.fromEntries(
    Object.entries(environment).map(([name, value]) => [name, value === 'ROOT' ? root.certificateFile : value]),
  );
  const trust = what === 'trusted' ? { AWS_CA_BUNDLE: root.certificateFile } : {};
  const agent = await startListening({ ...trust, ...named }, ['--endpoint-url', front]);
  await welcomeWithoutMock(agent);
  const answer = await agent.plugin.ask(2, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 60_000 });
  return { agent, answer, calls: kms.calls };
}

async function welcomeWithoutMock(agent: Agent): Promise<void> {
  expect(await agent.plugin.hello()).toMatchObject({ type: 'welcome' });
}

it.each([
  [{ NODE_TLS_REJECT_UNAUTHORIZED: '0' }],
  [{ NODE_EXTRA_CA_CERTS: 'ROOT' }],
  [{ NODE_OPTIONS: '--use-openssl-ca', SSL_CERT_DIR: '/nowhere' }],
])('an untrusted certificate stays untrusted with %o', { timeout: 120_000 }, async (environment) => {
  const { answer } = await askOverTls(environment, 'not trusted');
  expect(answer).toMatchObject({ type: 'fail', code: 'KMS_OPERATOR' });
  expect(answer).toMatchObject({ message: expect.stringMatching(/UNABLE_TO_|SELF_SIGNED_CERT/) });
});

it.each([[{ AWS_CA_BUNDLE: 'ROOT' }], [{ SSL_CERT_FILE: 'ROOT' }]])(
  'a certificate is trusted with %o',
  { timeout: 120_000 },
  async (environment) => {
    expect((await askOverTls(environment, 'not trusted')).answer).toMatchObject({ type: 'done' });
  },
);

/** All memory kinds of core(5). */
const EVERYTHING = '0x1ff';

function coreLimit(pid: number | 'self'): string {
  return (
    /Max core file size +(\S+) +(\S+)/
      .exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))
      ?.slice(1)
      .join(' ') ?? ''
  );
}

/** Ends the process so that it dumps core if it may. */
async function abort(running: Running): Promise<Buffer | undefined> {
  const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim();
  expect(pattern, 'core dumps go elsewhere: as root, sysctl -w kernel.core_pattern=core').not.toMatch(/^[|/]/);
  running.child.kill('SIGABRT');
  await ended(running);
  const [core] = readdirSync(running.directory);
  return core === undefined ? undefined : readFileSync(join(running.directory, core));
}

function allowCore(pid: number): void {
  execFileSync('prlimit', ['--pid', String(pid), '--core=unlimited:unlimited']);
}

/** Without a limit: the plugin has not set its own. */
it('a core dump of an agent that a plugin starts holds no secret', { timeout: 120_000 }, async () => {
  const agent = await startOnDescriptor();
  await welcome(agent);
  allowCore(agent.pid);
  const core = await abort(agent);
  expect(core?.length).toBeGreaterThan(0);
  expect(core?.includes(SECRET)).toBe(false);
  // A control: another process does dump the secret.
  const other = await startOnDescriptor();
  await welcome(other);
  allowCore(other.pid);
  writeFileSync(`/proc/${other.pid}/coredump_filter`, EVERYTHING);
  expect((await abort(other))?.includes(SECRET)).toBe(true);
});

it('neither a listening agent nor its credential process dumps core', {
  timeout: 120_000,
}, async () => {
  const directory = scratchDirectory();
  const seen = join(directory, 'seen');
  const config = join(directory, 'config');
  const script = join(directory, 'process');
  writeFileSync(
    script,
    `#!/bin/sh\ncat /proc/self/coredump_filter >${seen}.new; grep core /proc/self/limits >>${seen}.new\nmv ${seen}.new ${seen}\n`,
    {
      mode: 0o755,
    },
  );
  writeFileSync(config, `[default]\ncredential_process = ${script}\n`);
  const kms = await startKms();
  const environment = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined, AWS_CONFIG_FILE: config };
  const agent = await startListening(environment, ['--endpoint-url', kms.url]);
  expect(coreLimit(agent.pid)).toMatch(/^([01]) \1$/);
  await welcomeWithoutMock(agent);
  agent.plugin.send(2, { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 60_000 });
  await until('the credential process has run', () => existsSync(seen), 60);
  expect(readFileSync(seen, 'utf8')).toMatch(/^0+\nMax core file size +([01]) +\1 /);
  expect(await abort(agent)).toBe(undefined);
});

it('the other commands dump no core', { timeout: 60_000 }, async () => {
  const kms = start(COMMAND, ['dev-kms']);
  await until('it listens', () => kms.said().includes('controls:'), 60);
  expect(coreLimit(kms.pid)).toMatch(/^([01]) \1$/);
  expect(await abort(kms)).toBe(undefined);
});
