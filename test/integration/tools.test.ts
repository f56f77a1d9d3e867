import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import {
  AGENT,
  EVERYTHING_ENCRYPTED,
  installDatabase,
  PATH,
  PLUGIN_DIRECTORY,
  pluginOptions,
  ScratchServer,
  TEST_CREDENTIALS,
} from '../../harness/scratch-server.ts';
import { keyFiles, MASTER_KEY, newServer, startKms, startServer } from '../support/lab.ts';
import { backUp, prepare } from '../support/mariadb-backup.ts';
import { cleanUp, scratchDirectory } from '../support/scratch.ts';

const run = promisify(execFile);
const environment = { ...TEST_CREDENTIALS, PATH, AWS_DEFAULT_REGION: 'us-east-1', AWS_PAGER: '' };

async function aws(endpoint: string, ...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await run('/usr/bin/aws', ['--endpoint-url', endpoint, '--output', 'json', 'kms', ...args], {
    env: { ...environment, HOME: scratchDirectory() },
  });
  return JSON.parse(stdout);
}

it("a server loads a key file made with the AWS CLI, and the AWS CLI opens one of the server's", async () => {
  const kms = await startKms();
  const server = newServer(pluginOptions(kms.url));
  const made = await aws(
    kms.url,
    'generate-data-key-without-plaintext',
    '--key-id',
    MASTER_KEY,
    '--key-spec',
    'AES_256',
  );
  writeFileSync(join(server.datadir, 'aws-kms-key.9.1'), Buffer.from(String(made['CiphertextBlob']), 'base64'));
  await server.start();
  expect(server.log).toContain('AWS KMS plugin: loaded key 9, version 1, key length 256 bit');
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=9');
  await server.sql('CREATE TABLE d.u (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=10');
  const opened = await aws(
    kms.url,
    'decrypt',
    '--ciphertext-blob',
    `fileb://${join(server.datadir, 'aws-kms-key.10.1')}`,
  );
  expect(Buffer.from(String(opened['Plaintext']), 'base64')).toHaveLength(16);
  expect(opened['KeyId']).toBe(kms.keyArns[0]);
});

it("mariadb-backup without the key files fails with the missing key's name, and creates none", async () => {
  const kms = await startKms();
  const server = await startServer(kms, { innodb_encrypt_tables: 'ON', innodb_encrypt_log: 'ON' });
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB');
  const target = join(server.directory, 'backup');
  await backUp(server, target);
  await server.stop();
  for (const file of keyFiles(target)) rmSync(join(target, file));
  kms.calls.clear();
  const failed = await prepare(target).then(
    () => '',
    (error: { stdout: string; stderr: string }) => error.stdout + error.stderr,
  );
  expect(failed).toMatch(/AWS KMS plugin: key 1.* (is not in|there is no file) /);
  expect(kms.calls.list()).toEqual([]);
  expect(keyFiles(target)).toEqual([]);
});

it("mariadb-backup run by root reads the credentials of the server's user, and as that user", async () => {
  expect(process.getuid?.(), 'this test needs root, which runs the backup of another user').toBe(0);
  const kms = await startKms();
  const directory = scratchDirectory();
  chmodSync(directory, 0o777);
  const seen = (name: string): string[] => readFileSync(join(directory, name), 'utf8').trim().split('\n');
  const script = (name: string, text: string): string => {
    writeFileSync(join(directory, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    return join(directory, name);
  };
  const agent = script('agent', `umask 0\necho "$HOME" >>${directory}/homes\numask 022\nexec ${AGENT} agent`);
  const { AWS_ACCESS_KEY_ID: AccessKeyId, AWS_SECRET_ACCESS_KEY: SecretAccessKey } = TEST_CREDENTIALS;
  const credentials = JSON.stringify({ Version: 1, AccessKeyId, SecretAccessKey });
  const command = script('credentials', `id -un >>${directory}/users\necho '${credentials}'`);
  writeFileSync(join(directory, 'config'), `[default]\ncredential_process = ${command}\n`);
  const viaProcess = { AWS_CONFIG_FILE: join(directory, 'config'), PATH };
  const server = newServer(pluginOptions(kms.url, { aws_key_management_agent: agent, innodb_encrypt_tables: 'ON' }), {
    user: 'backup',
    environment: viaProcess,
  });
  await server.start();
  const target = join(directory, 'copy');
  const args = [
    '--backup',
    `--target-dir=${target}`,
    `--datadir=${server.datadir}`,
    `--socket=${server.socket}`,
    '--user=root',
  ];
  await run('mariadb-backup', ['--no-defaults', ...args], { env: viaProcess, maxBuffer: 64 * 1024 * 1024 });
  const { stdout } = await run('getent', ['passwd', 'backup']);
  expect(new Set(seen('homes'))).toEqual(new Set([stdout.split(':')[5]]));
  expect(seen('users').length).toBeGreaterThanOrEqual(2);
  expect(new Set(seen('users'))).toEqual(new Set(['backup']));
  expect(keyFiles(target)).toEqual(keyFiles(server.datadir));
});

it('the agent does not disturb mariadb-backup --stream', async () => {
  const kms = await startKms();
  const server = await startServer(kms, { innodb_encrypt_tables: 'ON' });
  const stream = join(server.directory, 'stream');
  await run(
    'sh',
    [
      '-c',
      `mariadb-backup --no-defaults --backup --stream=mbstream --datadir=${server.datadir} --socket=${server.socket} ${process.getuid?.() === 0 ? '--user=root' : ''} >${stream} 2>${stream}.log`,
    ],
    { env: environment },
  );
  const target = join(server.directory, 'unpacked');
  mkdirSync(target);
  await run('sh', ['-c', `cd ${target} && mbstream -x <${stream}`]);
  expect(keyFiles(target)).toEqual(keyFiles(server.datadir));
});

it('mariadb-install-db creates an encrypted data directory that the server opens', async () => {
  const kms = await startKms();
  const directory = scratchDirectory();
  const datadir = join(directory, 'data');
  const { log_bin: _, ...encrypted } = EVERYTHING_ENCRYPTED;
  const options = { ...pluginOptions(kms.url), ...encrypted, plugin_dir: PLUGIN_DIRECTORY };
  await installDatabase(datadir, options, TEST_CREDENTIALS);
  expect(keyFiles(datadir)).toContain('aws-kms-key.1.1');
  const server = new ScratchServer({ directory, options });
  cleanUp(() => server.kill());
  await server.start();
  const unencrypted = await server.sql(
    'SELECT NAME FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE ENCRYPTION_SCHEME = 0',
  );
  expect(unencrypted).toEqual([]);
});

it('a server with --bootstrap runs SQL on an encrypted data directory', async () => {
  const kms = await startKms();
  const server = newServer({ ...pluginOptions(kms.url), ...EVERYTHING_ENCRYPTED });
  const sql = join(server.directory, 'bootstrap.sql');
  writeFileSync(
    sql,
    'CREATE DATABASE d;\nCREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTION_KEY_ID=3;\nINSERT INTO d.t VALUES (5);\n',
  );
  await run('sh', ['-c', `mariadbd "$@" --bootstrap <${sql}`, 'sh', ...server.commandLine], { env: environment });
  await server.start();
  expect(await server.sql('SELECT i FROM d.t')).toEqual([{ i: 5 }]);
});

it('mock mode needs no AWS, warns loudly, survives a restart and is copied by a backup', async () => {
  const server = newServer(
    {
      plugin_load_add: 'aws_key_management',
      aws_key_management: 'FORCE',
      aws_key_management_mock: 'ON',
      innodb_encrypt_tables: 'ON',
    },
    { environment: {} },
  );
  await server.start();
  expect(server.log).toMatch(/\[Warning\] .*AWS KMS plugin: MOCK MODE: .*protects nothing/);
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  await server.sql('INSERT INTO d.t VALUES (6)');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  await server.restart();
  expect(await server.sql('SELECT i FROM d.t')).toEqual([{ i: 6 }]);
  const target = join(server.directory, 'backup');
  await backUp(server, target);
  const prepared = await prepare(target);
  expect(prepared).toContain('completed OK!');
});
