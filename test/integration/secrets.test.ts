import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { COMMAND, PATH, PLUGIN_DIRECTORY, pluginOptions, type ScratchServer } from '../../harness/scratch-server.ts';
import type { DevKms, DevKmsOptions } from '../../src/dev-kms/index.ts';
import { startContainer } from '../support/aws-stand-ins/container.ts';
import { type Echo, type EchoMode, startEcho } from '../support/aws-stand-ins/echo.ts';
import { startInstance } from '../support/aws-stand-ins/instance.ts';
import { Issuer, processDocument } from '../support/aws-stand-ins/issuer.ts';
import { keysOf } from '../support/aws-stand-ins/scene.ts';
import { startSso } from '../support/aws-stand-ins/sso.ts';
import { startSts } from '../support/aws-stand-ins/sts.ts';
import { SESSION, startIdentitySts } from '../support/identity-sts.ts';
import { agentsOf, MASTER_KEY, newServer, startKms } from '../support/lab.ts';
import { cleanUp, scratchDirectory, until } from '../support/scratch.ts';
import { SecretSearch } from '../support/secret-search.ts';

/** The code of a multi-factor device. */
const CODE = '314159';
const ROLE = 'arn:aws:iam::111122223333:role/keys';

/** The parts that a source of credentials is set up from. */
interface Stage {
  readonly issuer: Issuer;
  /** A home directory, also for programs that have no user of their own. */
  readonly home: string;
  readonly environment: Record<string, string>;
  file(path: string, text: string): string;
}

interface Source {
  readonly name: string;
  /**
   * True: the source needs a home directory; the agent of a server has that of the server's user, where tests write
   * nothing.
   */
  readonly needsHome?: true;
  /** Returns the service that can fail instead of the source. */
  setUp(stage: Stage): Promise<Troublemaker | undefined>;
}

/** Each call makes the source fail in the next way. */
type Troublemaker = readonly (() => void)[];

function echoing(echo: Echo, modes: readonly EchoMode[]): Troublemaker {
  return modes.map((mode) => () => {
    echo.mode = mode;
  });
}

const SOURCES: readonly Source[] = [
  {
    name: 'environment, with a session token, through a proxy with a password',
    async setUp({ issuer, environment }) {
      const { accessKeyId, secretAccessKey, sessionToken } = issuer.session();
      Object.assign(environment, {
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
        AWS_SESSION_TOKEN: sessionToken,
      });
      return undefined;
    },
  },
  {
    name: 'shared credentials file',
    async setUp({ issuer, file }) {
      file('credentials', `[default]\n${keysOf(issuer.session())}`);
      return undefined;
    },
  },
  {
    name: 'role_arn and source_profile',
    async setUp({ issuer, environment, file }) {
      const sts = await startSts(issuer);
      const echo = await startEcho(sts.url, 'STS', issuer);
      file('credentials', `[base]\n${keysOf(issuer.user())}`);
      file('config', `[default]\nrole_arn = ${ROLE}\nsource_profile = base\n`);
      environment['AWS_ENDPOINT_URL_STS'] = echo.url;
      return echoing(echo, ['refuse', 'hostile name', 'garbage']);
    },
  },
  {
    name: 'credential_process',
    async setUp({ issuer, file }) {
      const key = issuer.session();
      const document = JSON.stringify(processDocument(key));
      const answer = file('answer', document);
      const script = file('process', `#!/bin/sh\n. ${file('how', `cat ${answer}\n`)}\n`);
      chmodSync(script, 0o700);
      file('config', `[default]\ncredential_process = ${script} ${issuer.secret('argument')}\n`);
      const { secretAccessKey, sessionToken } = key;
      return [
        `echo '${secretAccessKey} ${sessionToken}'`,
        `printf '%s' '{"Version": 1, "SecretAccessKey": ${secretAccessKey}'`,
        `cat ${answer} >&2; exit 3`,
        `echo '${JSON.stringify(processDocument({ ...key, expiresAt: 0 }))}'`,
      ].map((how) => () => void file('how', `${how}\n`));
    },
  },
  {
    name: 'SSO cache',
    needsHome: true,
    async setUp({ issuer, environment, file }) {
      const sso = await startSso(issuer);
      const echo = await startEcho(sso.url, 'SSO', issuer);
      const start = 'https://keys.awsapps.com/start';
      const role = 'sso_account_id = 111122223333\nsso_role_name = keys';
      file('config', `[default]\n${role}\nsso_start_url = ${start}\nsso_region = us-east-1\n`);
      const { accessToken } = sso;
      const cached = `.aws/sso/cache/${createHash('sha1').update(start).digest('hex')}.json`;
      file(cached, JSON.stringify({ accessToken, expiresAt: new Date(Date.now() + 3_600_000).toISOString() }));
      environment['AWS_ENDPOINT_URL_SSO'] = echo.url;
      return [...echoing(echo, ['refuse', 'hostile name', 'garbage']), () => void file(cached, accessToken)];
    },
  },
  {
    name: 'web identity',
    async setUp({ issuer, environment, file }) {
      const sts = await startSts(issuer);
      const echo = await startEcho(sts.url, 'STS', issuer);
      Object.assign(environment, {
        AWS_WEB_IDENTITY_TOKEN_FILE: file('token', sts.webIdentityToken),
        AWS_ROLE_ARN: ROLE,
        AWS_ENDPOINT_URL_STS: echo.url,
      });
      return echoing(echo, ['refuse', 'hostile name', 'garbage']);
    },
  },
  {
    name: 'container endpoint with a token file',
    async setUp({ issuer, environment, file }) {
      const container = await startContainer(issuer);
      const echo = await startEcho(container.url, 'metadata', issuer);
      container.token = issuer.secret('container');
      Object.assign(environment, {
        AWS_CONTAINER_CREDENTIALS_FULL_URI: container.credentialsUrl.replace(container.url, echo.url),
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file('token', container.token),
      });
      return echoing(echo, ['refuse', 'garbage']);
    },
  },
  {
    name: 'instance metadata',
    async setUp({ issuer, environment }) {
      const instance = await startInstance(issuer);
      const echo = await startEcho(instance.url, 'metadata', issuer);
      environment['AWS_EC2_METADATA_SERVICE_ENDPOINT'] = echo.url;
      environment['AWS_EC2_METADATA_DISABLED'] = 'false';
      return echoing(echo, ['refuse', 'garbage']);
    },
  },
];

/** A KMS that can echo what it receives, and a record of everything visible from outside. */
class Witness {
  readonly issuer = new Issuer();
  readonly home = scratchDirectory();
  readonly environment: Record<string, string> = {
    AWS_EC2_METADATA_DISABLED: 'true',
  };
  /** Visible texts, besides files. */
  readonly #seen: (readonly [place: string, text: string])[] = [];
  readonly #echoes: Echo[] = [];
  #kms: DevKms | undefined;

  get kms(): DevKms {
    if (this.#kms === undefined) throw new Error('the KMS does not run');
    return this.#kms;
  }

  async startKms(options: Partial<DevKmsOptions> = {}): Promise<Echo> {
    this.#kms = await startKms({ accessKeys: this.issuer.accessKeys, ...options });
    const echo = await startEcho(this.#kms.url, 'KMS', this.issuer);
    this.#echoes.push(echo);
    return echo;
  }

  file(path: string, text: string): string {
    const full = join(this.home, path);
    // The agent refuses to start when the named file does not exist.
    if (path === 'credentials') this.environment['AWS_SHARED_CREDENTIALS_FILE'] = full;
    if (path === 'config') this.environment['AWS_CONFIG_FILE'] = full;
    mkdirSync(dirname(full), { recursive: true, mode: 0o700 });
    writeFileSync(full, text, { mode: 0o600 });
    return full;
  }

  see(place: string, text: string): void {
    this.#seen.push([place, text]);
  }

  /** The statement, its error or its warnings, on one connection. */
  async sql(server: ScratchServer, statement: string): Promise<string> {
    const connection = await server.connect();
    const error = await connection.query(statement).then(
      () => '',
      (thrown: unknown) => String(thrown),
    );
    this.see(`error of ${statement}`, error);
    this.see(`warnings of ${statement}`, JSON.stringify(await connection.query('SHOW WARNINGS')));
    await connection.end();
    return error;
  }

  async look(server: ScratchServer): Promise<void> {
    for (const statement of [
      'SHOW GLOBAL VARIABLES',
      'SHOW GLOBAL STATUS',
      'SHOW FULL PROCESSLIST',
      'SELECT * FROM information_schema.plugins',
      'SELECT * FROM information_schema.system_variables',
    ]) {
      this.see(statement, JSON.stringify(await server.sql(statement)));
    }
    // Not `environ`: only its owner and root can read it, and the agent gets its credentials in it.
    for (const pid of [server.pid, ...(await agentsOf(server))]) {
      this.see(`command line of ${pid}`, readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
    }
  }

  async run(...commandArguments: readonly string[]): Promise<string> {
    const env = { PATH, HOME: this.home, ...this.environment };
    const output = await new Promise<string>((resolve) => {
      const child = execFile(COMMAND, commandArguments, { env }, (_, stdout, stderr) => resolve(stdout + stderr));
      child.stdin?.end(`${CODE}\n`);
    });
    this.see(`output of ${commandArguments.join(' ')}`, output);
    return output;
  }

  search(server: ScratchServer): SecretSearch {
    const keys = readdirSync(server.datadir)
      .filter((file) => /^aws-kms-key\.\d+\.\d+$/.test(file))
      .map((file) => {
        const ciphertextBlob = readFileSync(join(server.datadir, file));
        return [
          `data key of ${file}`,
          this.kms.kms.decrypt({ region: 'us-east-1', ciphertextBlob }).plaintext,
        ] as const;
      });
    expect(keys.length).toBeGreaterThan(1);
    const signatures = this.#echoes.flatMap((echo) => [...echo.signatures]);
    return new SecretSearch([
      ...keys,
      ...this.issuer.secrets.map((secret) => [secret.replace(/^\w+-secret-/, ''), secret] as const),
      ...signatures.map((signature) => ['signature', signature] as const),
    ]);
  }

  /** Secrets found in the server's directory and in the recorded texts. */
  findings(search: SecretSearch, server: ScratchServer): readonly string[] {
    return [
      ...search.inFiles(server.directory),
      ...this.#seen.flatMap(([place, text]) => search.in(text).map((found) => `${found} in ${place}`)),
    ];
  }
}

async function startAgent(
  witness: Witness,
  directory: string,
  kmsUrl: string,
  log: string,
  ...more: readonly string[]
): Promise<ChildProcess> {
  const socket = join(directory, 'agent.sock');
  const keys = join(directory, 'data');
  const options = ['--listen', socket, '--keyfile-dir', keys, '--endpoint-url', kmsUrl, '--region', 'us-east-1'];
  const agent = spawn(COMMAND, ['agent', ...options, ...more], {
    env: { PATH, HOME: witness.home, ...witness.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [agent.stdout, agent.stderr]) stream.on('data', (chunk: Buffer) => appendFileSync(log, chunk));
  cleanUp(() => void agent.kill('SIGKILL'));
  await until('the agent listens', () => existsSync(log) && readFileSync(log, 'utf8').includes('listens on'));
  witness.see('command line of the agent', readFileSync(`/proc/${agent.pid}/cmdline`, 'latin1'));
  return agent;
}

it.each(SOURCES)('no output or file shows a credential or a key byte: $name', async ({ needsHome = false, setUp }) => {
  const witness = new Witness();
  const { issuer, environment, home } = witness;
  const troubles = (await setUp({ issuer, environment, home, file: (path, text) => witness.file(path, text) })) ?? [];
  const kms = await witness.startKms();
  const viaProxy = environment['AWS_SESSION_TOKEN'] !== undefined;
  const proxy = kms.url.replace('http://', `http://proxy-user:${issuer.secret('proxy')}@`);
  if (viaProxy) environment['HTTP_PROXY'] = proxy;
  environment['HTTPS_PROXY'] = proxy;
  const endpoint = viaProxy ? witness.kms.url : kms.url;

  const options = {
    ...pluginOptions(endpoint),
    aws_key_management_log_level: 'Trace',
    aws_key_management_region: 'us-east-1',
    aws_key_management_key_spec: 'AES_256',
    aws_key_management_request_timeout: 1_500,
    aws_key_management_start_timeout: 20,
    general_log: 'ON',
    slow_query_log: 'ON',
    long_query_time: 0,
  };
  const server = newServer(options, { environment });
  const files = {
    general_log_file: join(server.directory, 'general.log'),
    slow_query_log_file: join(server.directory, 'slow.log'),
  };
  const spawned = { ...options, ...files };
  const socket = join(server.directory, 'agent.sock');
  const listening = {
    ...spawned,
    aws_key_management_agent: `unix:${socket}`,
    aws_key_management_keyfile_dir: undefined,
  };
  const agentLog = join(server.directory, 'agent.log');
  chmodSync(server.directory, 0o700);
  const restartAgent = async (before?: ChildProcess): Promise<ChildProcess> => {
    if (before !== undefined && before.exitCode === null && before.signalCode === null) {
      before.kill('SIGTERM');
      await once(before, 'exit');
    }
    writeFileSync(agentLog, '', { flag: 'a' });
    return await startAgent(witness, server.directory, endpoint, agentLog);
  };

  let agent = needsHome ? await restartAgent() : undefined;
  server.options = needsHome ? listening : spawned;
  if (needsHome) server.environment = {};
  await server.start();
  await server.sql('CREATE DATABASE d');
  expect(await witness.sql(server, 'CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3')).toBe(
    '',
  );
  expect(await witness.sql(server, 'SET GLOBAL aws_key_management_rotate_key=-1')).toBe('');
  await server.sql('INSERT INTO d.t VALUES (1)');
  await server.restart();
  expect(await server.sql('SELECT * FROM d.t')).toEqual([{ i: 1 }]);

  // KMS echoes what it receives.
  const rotate = 'SET GLOBAL aws_key_management_rotate_key=3';
  for (const [mode, times] of [
    ['refuse', 1],
    ['hostile name', 1],
    ['expired', 1],
    ['garbage', 1],
  ] as const) {
    kms.mode = mode;
    kms.times = times;
    await witness.sql(server, rotate);
    expect(kms.times, mode).toBe(0);
    kms.mode = 'off';
  }
  expect(server.log).toContain('(hidden)');
  witness.kms.faults.set([{ operation: 'Decrypt', kind: 'wrong-plaintext-length', bytes: 17 }]);
  expect(await witness.sql(server, rotate)).toMatch(/expected 16, 24 or 32 bytes, got 17/);
  witness.kms.faults.set([]);
  await witness.look(server);

  const doctor = [
    'doctor',
    '--no-defaults',
    '--datadir',
    server.datadir,
    '--plugin-dir',
    PLUGIN_DIRECTORY,
    '--user',
    'root',
  ];
  const target = ['--master-key-id', MASTER_KEY, '--region', 'us-east-1', '--endpoint-url', endpoint];
  const examine = [...doctor, ...target, '--sts-endpoint-url', 'http://127.0.0.1:9', '--request-timeout', '500'];
  expect(await witness.run(...examine, '--json')).toContain('key versions unwrap');
  kms.mode = 'refuse';
  kms.times = Number.POSITIVE_INFINITY;
  expect(await witness.run(...examine)).toContain('(hidden)');
  kms.mode = 'off';

  // The source fails while the server starts.
  await server.stop();
  const starting = { ...server.options, aws_key_management_start_timeout: 1 };
  for (const [index, makeTrouble] of troubles.entries()) {
    makeTrouble();
    if (needsHome) agent = await restartAgent(agent);
    server.options = starting;
    await expect(server.start(), `trouble ${index}`).rejects.toThrow(/mariadbd did not start/);
  }
  if (troubles.length > 0) await witness.run(...examine, '--json');

  const search = witness.search(server);
  expect(witness.findings(search, server)).toEqual([]);

  // A control: the search finds a planted secret in the places that it has searched.
  const [planted = ''] = issuer.secrets;
  const name = planted.replace(/^\w+-secret-/, '');
  const table = join(server.datadir, 'd/t.ibd');
  for (const path of [server.logFile, files.general_log_file, table]) {
    appendFileSync(path, `x${Buffer.from(`xy${planted}`).toString('base64')}`);
  }
  witness.see('a text', planted);
  const places = [server.logFile, files.general_log_file, table].map((path) => `${name} as base64 in ${path}`);
  expect(witness.findings(search, server)).toEqual(
    expect.arrayContaining([...places, `${name} as raw bytes in a text`]),
  );
});

it('no output shows a credential when the first of two Regions repeats them to a listening agent', async () => {
  const witness = new Witness();
  const { issuer, environment } = witness;
  const { accessKeyId, secretAccessKey, sessionToken } = issuer.session();
  Object.assign(environment, {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
  });
  const stateFile = join(scratchDirectory(), 'kms.json');
  const first = await witness.startKms({ stateFile, aliases: [] });
  const { kms } = witness.kms;
  const caller = { accessKeyId: '', denied: [] };
  const { KeyMetadata } = kms.call('us-east-1', caller, 'CreateKey', { MultiRegion: true }) as {
    KeyMetadata: { Arn: string };
  };
  kms.call('us-east-1', caller, 'CreateAlias', { AliasName: MASTER_KEY, TargetKeyId: KeyMetadata.Arn });
  kms.call('us-east-1', caller, 'ReplicateKey', { KeyId: KeyMetadata.Arn, ReplicaRegion: 'eu-west-1' });
  const second = await startKms({ stateFile, aliases: [], accessKeys: issuer.accessKeys });

  const server = newServer({}, { environment: {} });
  chmodSync(server.directory, 0o700);
  const log = join(server.directory, 'agent.log');
  await startAgent(witness, server.directory, first.url, log, '--failover-regions', `eu-west-1=${second.url}`);
  server.options = {
    ...pluginOptions(''),
    aws_key_management_agent: `unix:${join(server.directory, 'agent.sock')}`,
    aws_key_management_log_level: 'Trace',
  };
  await server.start();
  await witness.sql(server, 'SET GLOBAL aws_key_management_rotate_key=1');
  first.mode = 'garbage';
  await server.restart();
  first.mode = 'refuse';
  await server.restart();
  expect(await witness.sql(server, 'SET GLOBAL aws_key_management_rotate_key=1')).toContain('(hidden)');
  expect(server.log).toMatch(/served by eu-west-1: us-east-1: AccessDeniedException: \(hidden\)/);
  await witness.look(server);
  await server.stop();
  expect(witness.findings(witness.search(server), server)).toEqual([]);
});

it('no output of the other commands shows a credential or a code', async () => {
  const witness = new Witness();
  const { issuer, environment, home } = witness;
  witness.file('credentials', `[default]\n${keysOf(issuer.user())}`);
  const sts = await startIdentitySts({ code: CODE });
  const echo = await startEcho(sts.url, 'STS', issuer);
  const output = join(home, 'session');
  const login = ['login', '--mfa-serial', 'arn:aws:iam::111122223333:mfa/me', '--region', 'us-east-1'];
  const outputs = [await witness.run(...login, '--endpoint-url', echo.url, '--output', output)];
  expect(outputs.join()).toContain('wrote session credentials');
  expect(readFileSync(output, 'utf8')).toContain(SESSION.secretAccessKey);
  for (const mode of ['refuse', 'hostile name', 'garbage'] as const) {
    echo.mode = mode;
    outputs.push(await witness.run(...login, '--endpoint-url', echo.url, '--output', output));
    expect(outputs.at(-1)).toContain('error: STS GetSessionToken failed');
  }
  expect(outputs.join()).toContain('(hidden)');
  const arn = 'arn:aws:kms:us-east-1:111122223333:key/11111111-2222-3333-4444-555555555555';
  expect(await witness.run('policy', '--master-key-arn', arn)).toContain('kms:Decrypt');
  // Neither the agent nor Node.js quotes a value that is no URL.
  environment['HTTP_PROXY'] = `http://user:${issuer.secret('proxy')}@no host`;
  outputs.push(await witness.run(...login, '--endpoint-url', echo.url, '--output', output));
  expect(outputs.at(-1)).toMatch(/error: HTTP_PROXY: expected http:\/\/HOST:PORT/);

  const search = new SecretSearch([
    ['code', CODE],
    ['secret of the session', SESSION.secretAccessKey],
    ['token of the session', SESSION.sessionToken],
    ...issuer.secrets.map((secret) => [secret, secret] as const),
  ]);
  expect(outputs.flatMap((text) => search.in(text))).toEqual([]);
  // The search finds them where they belong.
  expect(search.in(readFileSync(output))).toContain('token of the session as raw bytes');
});
