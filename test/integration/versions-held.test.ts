import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { pluginOptions, type ScratchServer } from '../../harness/scratch-server.ts';
import type { DevKms } from '../../src/dev-kms/index.ts';
import { agentsOf, keyFiles, newServer, sqlError, startKms, startServer } from '../support/lab.ts';
import { scratchDirectory, until } from '../support/scratch.ts';

const ROTATE_2 = 'SET GLOBAL aws_key_management_rotate_key=2';

async function withTable(server: ScratchServer, id: number): Promise<void> {
  await server.sql('CREATE DATABASE IF NOT EXISTS d');
  await server.sql(`CREATE TABLE d.t${id} (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`);
  await server.sql(`SET GLOBAL aws_key_management_rotate_key=${id}`);
  await server.sql(`INSERT INTO d.t${id} VALUES (42)`);
}

async function endAgents(server: ScratchServer): Promise<void> {
  for (const pid of await agentsOf(server)) process.kill(pid, 'SIGKILL');
  await until(
    'the agent is gone',
    async () => (await server.variable('STATUS', 'Aws_key_management_agent_state')) !== 'running',
  );
}

/** Moves the two files of a key version. @returns their new paths */
function moveAway(keys: string, version: string, to = 'away'): string {
  const aside = join(keys, '..', to);
  mkdirSync(aside, { recursive: true });
  for (const file of readdirSync(keys).filter((name) => name === version || name === `${version}.json`)) {
    renameSync(join(keys, file), join(aside, file));
  }
  return aside;
}

function putBack(aside: string, keys: string): void {
  for (const file of readdirSync(aside)) renameSync(join(aside, file), join(keys, file));
}

function newKeys(): string {
  const keys = join(scratchDirectory(), 'keys');
  mkdirSync(keys, { mode: 0o700 });
  return keys;
}

it('a restored older state with as many files gets no version that the server has', async () => {
  const keys = newKeys();
  const server = await startServer(await startKms(), { aws_key_management_keyfile_dir: keys });
  await withTable(server, 2);
  const away = moveAway(keys, 'aws-kms-key.2.2');
  copyFileSync(join(keys, 'aws-kms-key.2.1'), join(keys, 'aws-kms-key.3.1'));
  await endAgents(server);
  const before = keyFiles(keys);
  const gone = /aws-kms-key\.2\.2 is not in \S+ any more, and the server has the keys of those files in use: nothing/;
  expect(await sqlError(server, ROTATE_2)).toMatch(gone);
  expect(await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=-1')).toMatch(gone);
  await expect(
    server.sql('CREATE TABLE d.n (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=7'),
  ).rejects.toThrow();
  expect(keyFiles(keys)).toEqual(before);
  await server.sql('INSERT INTO d.t2 VALUES (43)');
  putBack(away, keys);
  await server.sql(ROTATE_2);
  expect(keyFiles(keys)).toContain('aws-kms-key.2.3');
  await server.restart();
  expect(await server.sql('SELECT i FROM d.t2')).toEqual([{ i: 42 }, { i: 43 }]);
});

it('a state restored while the server is down gets no version that its data uses', async () => {
  const keys = newKeys();
  const server = await startServer(await startKms(), { aws_key_management_keyfile_dir: keys });
  await withTable(server, 2);
  await withTable(server, 3);
  await server.stop();
  const away = moveAway(keys, 'aws-kms-key.2.2');
  await server.start();
  const before = keyFiles(keys);
  const lost = `AWS KMS plugin: key 2 version 2 is not among the key files in ${keys}, and d/t2.ibd in the data directory is encrypted with it: `;
  const cure = 'restore the files aws-kms-key.2.* from a backup of the key files, and start the server again';
  expect(await sqlError(server, ROTATE_2)).toContain(
    `${lost}it is not rotated, so that no version is made a second time; ${cure}`,
  );
  const all = await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=-1');
  expect(all).toContain(`${lost}no key is rotated`);
  expect(all).toContain(cure);
  expect(keyFiles(keys)).toEqual(before);
  // The conflict blocks this key only.
  await server.sql('SET GLOBAL aws_key_management_rotate_key=3');
  expect(keyFiles(keys)).toContain('aws-kms-key.3.3');
  await server.stop();
  putBack(away, keys);
  await server.start();
  await server.sql(ROTATE_2);
  await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  expect(keyFiles(keys)).toEqual(expect.arrayContaining(['aws-kms-key.2.4', 'aws-kms-key.3.4']));
  expect(await server.sql('SELECT i FROM d.t2')).toEqual([{ i: 42 }]);
}, 120_000);

it('a stored version that could not be loaded is not lost: its key is rotated', async () => {
  const keys = newKeys();
  const server = await startServer(await startKms(), {
    aws_key_management_keyfile_dir: keys,
    aws_key_management_allow_missing_keys: 'ON',
  });
  await withTable(server, 2);
  await server.stop();
  writeFileSync(join(keys, 'aws-kms-key.2.2'), 'no key');
  await server.start();
  await server.sql(ROTATE_2);
  expect(keyFiles(keys)).toContain('aws-kms-key.2.3');
}, 120_000);

it('a missing version is reported at each look even if a second server creates keys in the directory', async () => {
  const kms = await startKms();
  const keys = newKeys();
  const options = { aws_key_management_keyfile_dir: keys, aws_key_management_watch_interval: 1 };
  const x = await startServer(kms, options);
  await withTable(x, 2);
  const away = moveAway(keys, 'aws-kms-key.2.2');
  const y = await startServer(kms, options);
  await withTable(y, 3);
  await endAgents(x);
  expect(await sqlError(x, ROTATE_2)).toMatch(/^AWS KMS plugin: aws-kms-key\.2\.2 is not in /);
  await until('the log says so', async () =>
    /\[ERROR\] \S*mariadbd: AWS KMS plugin: aws-kms-key\.2\.2 is not in .* bring these back from a backup/s.test(x.log),
  );
  putBack(away, keys);
  // The rotation takes no version of the other server, but the next free numbers.
  await x.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  expect(keyFiles(keys)).toEqual(expect.arrayContaining(['aws-kms-key.2.3', 'aws-kms-key.3.3']));
  await x.restart();
  await y.restart();
  expect(await x.sql('SELECT i FROM d.t2')).toEqual([{ i: 42 }]);
  expect(await y.sql('SELECT i FROM d.t3')).toEqual([{ i: 42 }]);
});

/** A server whose version 2 of a key has another server's key in its file, and that has been told; both cures start here. */
async function serverOfConflict(kms: DevKms, id: number): Promise<{ x: ScratchServer; keys: string; right: string }> {
  const keys = newKeys();
  const options = { aws_key_management_keyfile_dir: keys, aws_key_management_allow_missing_keys: 'ON' };
  const x = newServer(pluginOptions(kms.url, options));
  // A permanently unreadable key makes a new agent load all keys again.
  writeFileSync(join(keys, 'aws-kms-key.9.1'), 'no key');
  await x.start();
  await withTable(x, id);
  const right = moveAway(keys, `aws-kms-key.${id}.2`);
  const y = await startServer(kms, options);
  await y.sql(`SET GLOBAL aws_key_management_rotate_key=${id}`);
  expect(keyFiles(keys)).toContain(`aws-kms-key.${id}.2`);
  await y.stop();
  for (const pid of await agentsOf(x)) process.kill(pid, 'SIGKILL');
  await until(
    'the log says which file is not the key in memory',
    async () => x.log.includes('is not the key that'),
    60,
  );
  const said = x.log.slice(x.log.indexOf(`AWS KMS plugin: key ${id} version 2: the file`));
  expect(said).toContain(
    `key ${id} version 2: the file aws-kms-key.${id}.2 in ${keys} is not the key that the server has in memory and has encrypted data with; the one in memory stays in use; do not restart the server yet`,
  );
  expect(x.log).toMatch(/\[ERROR\] \S*mariadbd: AWS KMS plugin: key \d version 2: the file/);
  await x.sql(`INSERT INTO d.t${id} VALUES (43)`);
  return { x, keys, right };
}

const ROWS = [{ i: 42 }, { i: 43 }];

it('a file that differs from the key in memory is logged as an error, and restoring the right one saves the data', async () => {
  const { x, keys, right } = await serverOfConflict(await startKms(), 2);
  const wrong = moveAway(keys, 'aws-kms-key.2.2', 'wrong');
  putBack(right, keys);
  const [one, other] = [keys, wrong].map((directory) => readFileSync(join(directory, 'aws-kms-key.2.2')));
  expect(one?.equals(other ?? Buffer.of())).toBe(false);
  await x.restart();
  expect(await x.sql('SELECT i FROM d.t2')).toEqual(ROWS);
});

it('without a backup, a rotation and a rebuild of the tables save the data from a replaced key file', async () => {
  const { x, keys } = await serverOfConflict(await startKms(), 2);
  await x.sql(ROTATE_2);
  await x.sql('ALTER TABLE d.t2 FORCE');
  await x.restart();
  expect(keyFiles(keys)).toEqual(expect.arrayContaining(['aws-kms-key.2.2', 'aws-kms-key.2.3']));
  expect(await x.sql('SELECT i FROM d.t2')).toEqual(ROWS);
});

it('with a replaced file of key 1, all data can still be read and loaded into another server', async () => {
  const kms = await startKms();
  const { x } = await serverOfConflict(kms, 1);
  expect(x.log).toContain('copy all data out with mariadb-dump');
  // As mariadb-dump does it, which is not on every machine that runs these tests.
  const [table] = await x.sql('SHOW CREATE TABLE d.t1');
  const rows = await x.sql('SELECT i FROM d.t1');
  const other = await startServer(kms);
  await other.sql('CREATE DATABASE d');
  await other.sql(String(table?.['Create Table']).replace('`t1`', 'd.t1'));
  for (const { i } of rows) await other.sql(`INSERT INTO d.t1 VALUES (${Number(i)})`);
  expect(await other.sql('SELECT i FROM d.t1')).toEqual(ROWS);
});
