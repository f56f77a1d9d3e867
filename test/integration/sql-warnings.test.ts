import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { pluginOptions, type ScratchServer } from '../../harness/scratch-server.ts';
import { newServer, startKms, startServer } from '../support/lab.ts';

/** Returns SHOW WARNINGS after the statement. */
async function warnings(server: ScratchServer, statement: string, user = 'root', mustFail = true): Promise<string[]> {
  const connection = await server.connect(user);
  const failed = await connection.query(statement).then(
    () => false,
    () => true,
  );
  expect(failed, statement).toBe(mustFail);
  const rows: unknown = await connection.query('SHOW WARNINGS');
  return Array.isArray(rows) ? rows.map(({ Level, Message }) => `${Level}: ${Message}`) : [];
}

const OURS = /^(?:Warning|Error): AWS KMS plugin: /;
const denied = {
  operation: 'GenerateDataKeyWithoutPlaintext',
  kind: 'error',
  name: 'AccessDeniedException',
  status: 400,
  message: 'arn:aws:iam::111122223333:role/db may not',
} as const;

it('SHOW WARNINGS tells why a statement got no key, without accounts or paths for users without privileges', async () => {
  const kms = await startKms();
  const server = await startServer(kms, { aws_key_management_key_ids: '1-9' });
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB');
  await server.sql("CREATE USER u@localhost IDENTIFIED BY ''");
  await server.sql('GRANT ALL ON d.* TO u@localhost');
  const create = (id: number): string => `CREATE TABLE d.n (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`;
  for (const user of ['root', 'u']) {
    expect((await warnings(server, create(77), user)).filter((line) => OURS.test(line))).toEqual([
      expect.stringMatching(
        /^Warning: AWS KMS plugin: key 77 is not among the key ids that aws_key_management_key_ids allows/,
      ),
    ]);
  }
  kms.faults.set([denied]);
  const admin = await warnings(server, create(5));
  expect(admin.filter((line) => OURS.test(line))).toEqual([
    expect.stringMatching(/^Warning: AWS KMS plugin: key 5 version 1 .*AccessDeniedException: arn:aws:iam::\d+:role/),
  ]);
  const altered = 'ALTER TABLE d.t ENCRYPTED=YES ENCRYPTION_KEY_ID=6';
  const user = await warnings(server, altered, 'u');
  expect(user.filter((line) => OURS.test(line))).toEqual([
    'Warning: AWS KMS plugin: key 6 is not available: KMS refuses it; the error log says more',
  ]);
  expect(user.join()).not.toMatch(/111122223333|arn:/);
  // The statement succeeds: InnoDB reports that the key is unavailable, and now also why.
  const set = await warnings(server, 'SET SESSION innodb_default_encryption_key_id=8', 'root', false);
  expect(set).toEqual([
    expect.stringMatching(/^Warning: AWS KMS plugin: key 8 version 1 .*AccessDeniedException/),
    'Warning: innodb_default_encryption_key=8 is not available',
  ]);
  // `mariadb -e` ends at the error, before a SHOW WARNINGS; its option prints the reason.
  const client = ['--no-defaults', `--socket=${server.socket}`, '--user=root', '-e', `${create(5)}; SHOW WARNINGS`];
  const reason = /AWS KMS plugin: key 5 version 1 .*AccessDeniedException/;
  const said = (...args: readonly string[]): string => {
    const { status, stdout, stderr } = spawnSync('mariadb', [...client, ...args], { encoding: 'utf8' });
    expect(status).toBe(1);
    return stdout + stderr;
  };
  expect(said()).not.toMatch(reason);
  expect(said('--show-warnings')).toMatch(reason);
  kms.faults.clear();
}, 120_000);

it('a statement that succeeds without key 2 of temporary data has no warning', async () => {
  const server = await startServer(await startKms(), {
    aws_key_management_key_ids: '1',
    aria_encrypt_tables: 'ON',
    encrypt_tmp_disk_tables: 'ON',
  });
  const statement = 'CREATE TEMPORARY TABLE mysql.n (i INT) ENGINE=Aria';
  expect(await warnings(server, statement, 'root', false)).toEqual([]);
  expect(server.log).toContain('key 2 is not among the key ids');
}, 120_000);

it('a failed INSTALL SONAME reports its reason', async () => {
  const kms = await startKms();
  const loaded = pluginOptions(kms.url);
  const { plugin_load_add: _, aws_key_management: __, ...rest } = loaded;
  const options = Object.fromEntries(Object.entries(rest).map(([name, value]) => [`loose_${name}`, value]));
  const server = newServer({ ...options, loose_aws_key_management_encryption_context: 'malformed' });
  await server.start();
  const lines = await warnings(server, "INSTALL SONAME 'aws_key_management'");
  expect(lines.join('\n')).toMatch(/AWS KMS plugin: aws_key_management_encryption_context: /);
}, 120_000);

it('a start names a version that is gone from between, and a statement that needs it reads: never drop the table', async () => {
  const server = await startServer(await startKms());
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.first (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=31');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=31');
  await server.sql('CREATE TABLE d.second (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=31');
  await server.sql('INSERT INTO d.second VALUES (1)');
  // Writes its pages with version 2.
  await server.sql('FLUSH TABLES d.second FOR EXPORT');
  await server.sql('UNLOCK TABLES');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=31');
  await server.stop();
  for (const file of ['aws-kms-key.31.2', 'aws-kms-key.31.2.json']) rmSync(join(server.datadir, file));
  await server.start();
  expect(server.log).toMatch(
    /\[Warning\] .*AWS KMS plugin: nothing is in \S+ of older key versions: key 31 version 2 \(file aws-kms-key\.31\.2\); data under them cannot be read: restore the files/,
  );
  const lines = await warnings(server, 'SELECT * FROM d.second');
  expect(lines.join('\n')).toMatch(
    /AWS KMS plugin: key 31 version 2: there is no file aws-kms-key\.31\.2 in .*; never drop the table; restart the server when the file is back/,
  );
}, 120_000);
