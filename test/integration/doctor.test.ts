import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  COMMAND,
  EVERYTHING_ENCRYPTED,
  PATH,
  PLUGIN_DIRECTORY,
  pluginOptions,
  type ScratchServer,
  TEST_ACCESS_KEYS_FILE,
} from '../../harness/scratch-server.ts';
import { type DevKms, TEST_ACCESS_KEY } from '../../src/dev-kms/index.ts';
import { startIdentitySts } from '../support/identity-sts.ts';
import { run as execute, keyFiles, MASTER_KEY, startKms, startServer } from '../support/lab.ts';

interface Finding {
  readonly check: string;
  readonly status: string;
  readonly found: string;
  readonly fix?: string;
}

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const SURPLUS = ['GenerateDataKey', 'Encrypt', 'ReEncrypt', 'CreateGrant'];

/** The command as it ships, in an environment that has nothing but a home. */
async function doctor(home: string, ...options: readonly string[]): Promise<Run> {
  const env = { PATH, HOME: home, AWS_EC2_METADATA_DISABLED: 'true' };
  return await new Promise((resolve) => {
    execFile(COMMAND, ['doctor', ...options], { env, encoding: 'utf8' }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** A server with keys, its option file as an administrator writes it, and credentials in a home. */
async function newServer(): Promise<{ kms: DevKms; server: ScratchServer; home: string; file: string }> {
  const kms = await startKms({ accessKeys: [{ ...TEST_ACCESS_KEY, denied: SURPLUS }] });
  const server = await startServer(kms, EVERYTHING_ENCRYPTED);
  await server.sql('CREATE TABLE mysql.secret (a INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=7');
  await server.sql('SET GLOBAL aws_key_management_rotate_key = 7');
  await server.stop();
  const file = join(server.directory, 'my.cnf');
  const files = join(server.directory, 'files');
  mkdirSync(files);
  const options = {
    ...pluginOptions(kms.url),
    ...EVERYTHING_ENCRYPTED,
    datadir: server.datadir,
    plugin_dir: PLUGIN_DIRECTORY,
    user: 'root',
    'aws-key-management-region': '"us-east-1"',
    secure_file_priv: files,
  };
  const lines = Object.entries(options).map(([name, value]) => `${name} = ${value}`);
  writeFileSync(file, ['[mariadb]', ...lines, '[mysqld-5.5]', 'nonsense = 1', ''].join('\n'));
  const home = join(server.directory, 'home');
  mkdirSync(join(home, '.aws'), { recursive: true, mode: 0o700 });
  writeFileSync(join(home, '.aws/credentials'), TEST_ACCESS_KEYS_FILE, { mode: 0o600 });
  return { kms, server, home, file };
}

function expectNoSecrets(run: Run, server: ScratchServer): void {
  const output = run.stdout + run.stderr;
  const wrapped = readdirSync(server.datadir)
    .filter((name) => /^aws-kms-key\.\d+\.\d+$/.test(name))
    .map((name) => readFileSync(join(server.datadir, name)));
  const secrets = [TEST_ACCESS_KEY.secretAccessKey, ...wrapped.map((bytes) => bytes.toString('base64'))];
  for (const secret of secrets) expect(output).not.toContain(secret);
}

it('the doctor examines a real server by its option file, and finds later faults', async () => {
  const { kms, server, home, file } = await newServer();
  const sts = await startIdentitySts();
  const arguments_ = [`--defaults-file=${file}`, '--sts-endpoint-url', sts.url];

  const healthy = await doctor(home, ...arguments_, '--json');
  const findings: Finding[] = JSON.parse(healthy.stdout);
  expect(findings.filter(({ status }) => status === 'failure' || status === 'warning')).toEqual([]);
  const versions = keyFiles(server.datadir).filter((name) => /^aws-kms-key\.\d+\.\d+$/.test(name)).length;
  expect(findings).toContainEqual({
    check: 'unwrap',
    status: 'ok',
    found: `${versions} of ${versions} key versions unwrap`,
  });
  expect(findings).toContainEqual({
    check: 'credentials',
    status: 'ok',
    found: 'arn:aws:iam::111122223333:user/mariadb, from the shared credentials file, without expiry',
  });
  expect(healthy).toMatchObject({ code: 0, stderr: '' });
  expectNoSecrets(healthy, server);

  kms.kms.call('us-east-1', { accessKeyId: '', denied: [] }, 'DisableKey', { KeyId: kms.keyArns[0] });
  rmSync(join(server.datadir, 'aws-kms-key.7.1'));
  const broken = await doctor(home, ...arguments_);
  const failures = broken.stdout.split('\n').filter((line) => line.startsWith('failure'));
  expect(failures.slice(0, 2)).toEqual([
    'failure  key-files: key 7 version 1: its sidecar is there, its key file aws-kms-key.7.1 is gone',
    `failure  master-key: ${kms.keyArns[0]} is disabled`,
  ]);
  expect(broken.stdout.split('\n')[0]).toBe(failures[0]);
  expect(broken.stdout).not.toContain('\u001b');
  expect(broken).toMatchObject({ code: 1, stderr: '' });
  expectNoSecrets(broken, server);

  // The server agrees.
  await expect(server.start()).rejects.toThrow(/mariadbd did not start/);
});

it('the fix for secure_file_priv lets the server start, and SQL write to that directory only', async () => {
  const { server, home, file } = await newServer();
  writeFileSync(file, readFileSync(file, 'utf8').replace(/^secure_file_priv.*\n/m, ''));
  const sqlFiles = async (): Promise<Finding[]> => {
    const { stdout } = await doctor(home, `--defaults-file=${file}`, '--json');
    const findings: Finding[] = JSON.parse(stdout);
    return findings.filter(({ check }) => check === 'sql-files');
  };
  const [warned] = await sqlFiles();
  const [command = '', line = '', ...more] = warned?.fix?.split('\n') ?? [];
  expect(more).toEqual([]);
  await execute('sh', ['-c', command]);
  const directory = `${server.datadir}-files`;
  const option = `secure_file_priv = ${directory}`;
  expect(line).toBe(`in ${file}, section [mariadb]: ${option}`);
  writeFileSync(file, readFileSync(file, 'utf8').replace('[mariadb]\n', `[mariadb]\n${option}\n`));
  expect(await sqlFiles()).toMatchObject([{ status: 'ok' }]);
  server.options = { ...server.options, secure_file_priv: directory };
  await server.start();
  await server.sql(`SELECT 'x' INTO DUMPFILE '${join(directory, 'x')}'`);
  const key = join(server.datadir, 'aws-kms-key.9.1');
  await expect(server.sql(`SELECT 'x' INTO DUMPFILE '${key}'`)).rejects.toThrow(/--secure-file-priv/);
});

it('the doctor accepts flags in place of option files', async () => {
  const { kms, server, home } = await newServer();
  const flags = ['--datadir', server.datadir, '--plugin-dir', PLUGIN_DIRECTORY, '--user', 'root'];
  const target = ['--master-key-id', MASTER_KEY, '--region', 'us-east-1', '--endpoint-url', kms.url];
  const sts = ['--sts-endpoint-url', 'http://127.0.0.1:9'];
  const run = await doctor(home, '--no-defaults', ...flags, ...target, ...sts);
  expect(run).toMatchObject({ code: 0, stderr: '' });
  expect(run.stdout).toContain(`ok       master-key: ${MASTER_KEY} is ${kms.keyArns[0]}: Enabled, SYMMETRIC_DEFAULT`);
  expect(run.stdout).toContain('ok       credentials: access key ending 0000, from the shared credentials file');
});

it.each([
  [
    ['--no-defaults', '--defaults-file=/etc/my.cnf'],
    /^mariadb-aws-kms: error: --defaults-file and --no-defaults: only one/,
  ],
  [['--no-defaults', '--group', 'x'], /^mariadb-aws-kms: error: --group needs option files/],
  [['--unknown'], /^error: unknown option '--unknown'/],
])('the doctor refuses %j', async (options, message) => {
  const run = await doctor('/nowhere', ...options);
  expect(run).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(message) });
});
