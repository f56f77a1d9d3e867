import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { EVERYTHING_ENCRYPTED, pluginOptions, type ScratchServer } from '../../harness/scratch-server.ts';
import { startAfterKill } from '../../harness/start-after-kill.ts';
import { fileBytes, keyFiles, newServer, startKms, startServer } from '../support/lab.ts';

const SECRET = 'a text that nobody may find on disk';

/** Every file below the data directory that holds the text. */
function filesWith(server: ScratchServer, text: string): string[] {
  return readdirSync(server.datadir, { recursive: true, encoding: 'utf8', withFileTypes: true })
    .filter((entry) => entry.isFile() && readFileSync(join(entry.parentPath, entry.name)).includes(text))
    .map((entry) => entry.name)
    .sort();
}

it('the text of an encrypted InnoDB table is in no file, while that of its ENCRYPTED=NO twin is', async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.safe (t TEXT) ENGINE=InnoDB ENCRYPTED=YES');
  await server.sql('CREATE TABLE d.open (t TEXT) ENGINE=InnoDB ENCRYPTED=NO');
  for (const table of ['safe', 'open']) await server.sql(`INSERT INTO d.${table} VALUES ('${SECRET}')`);
  await server.restart();
  expect(fileBytes(server, 'd', 'open.ibd').includes(SECRET)).toBe(true);
  expect(fileBytes(server, 'd', 'safe.ibd').includes(SECRET)).toBe(false);
  expect(await server.sql('SELECT t FROM d.safe')).toEqual([{ t: SECRET }]);
});

it('a server encrypts InnoDB, Aria, binary log, redo log and temporary files, and reads them after a restart', async () => {
  const kms = await startKms();
  const server = await startServer(kms, EVERYTHING_ENCRYPTED);
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.innodb (id INT PRIMARY KEY, t TEXT) ENGINE=InnoDB');
  await server.sql('CREATE TABLE d.aria (id INT PRIMARY KEY, t TEXT) ENGINE=Aria ROW_FORMAT=PAGE');
  for (const table of ['innodb', 'aria']) {
    await server.sql(`INSERT INTO d.${table} SELECT seq, CONCAT('${SECRET}', seq) FROM d.seq_1_to_2000`);
  }
  const sorted = await server.connect();
  await sorted.query('SET tmp_memory_table_size=0, sort_buffer_size=65536, max_heap_table_size=16384');
  const rows: unknown = await sorted.query(
    'SELECT DISTINCT a.t FROM d.innodb a JOIN d.aria b USING (id) ORDER BY MD5(a.t)',
  );
  expect(rows).toHaveLength(2000);
  expect(server.log).toContain('AWS KMS plugin: generated encrypted datakey for key id=1, version=1');
  expect(server.log).toContain('AWS KMS plugin: loaded key 1, version 1, key length 128 bit');
  expect(server.log).toContain('Using encryption key id 2 for temporary files');
  expect(server.log).toMatch(/InnoDB: Encrypting redo log/);

  // A control: the search finds unencrypted text.
  await server.sql(`CREATE TABLE d.open (t TEXT) ENGINE=InnoDB ENCRYPTED=NO SELECT 'a text that anyone may find' AS t`);
  await sorted.query('FLUSH TABLES d.open FOR EXPORT');
  await server.kill();
  expect(filesWith(server, 'a text that anyone may find')).toEqual(['open.ibd']);
  expect(filesWith(server, SECRET)).toEqual([]);
  await startAfterKill(server);
  for (const table of ['innodb', 'aria']) {
    const [row] = await server.sql(
      `SELECT COUNT(*) AS n, COUNT(DISTINCT t) AS d, MAX(t LIKE '${SECRET}%') AS m FROM d.${table}`,
    );
    expect(row).toEqual({ n: 2000, d: 2000, m: 1 });
  }
  const events = await server.sql("SHOW BINLOG EVENTS IN 'binlog.000001' LIMIT 3");
  expect(events.map(({ Event_type }) => Event_type)).toContain('Start_encryption');
});

it('a server serves key ids 1, 2, 3, 100000 and 4294967295, and moves a table from one to another', async () => {
  const kms = await startKms();
  const server = await startServer(kms, { aws_key_management_key_spec: 'AES_256' });
  await server.sql('CREATE DATABASE d');
  const ids = [1, 2, 3, 100_000, 4_294_967_295];
  for (const id of ids) {
    await server.sql(`CREATE TABLE d.t${id} (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`);
    await server.sql(`INSERT INTO d.t${id} VALUES (${id % 1000})`);
  }
  await server.sql('ALTER TABLE d.t3 ENCRYPTION_KEY_ID=77');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  await server.sql('INSERT INTO d.t4294967295 VALUES (5)');
  expect(keyFiles(server.datadir).filter((file) => !file.endsWith('.json'))).toEqual([
    'aws-kms-key.1.1',
    'aws-kms-key.1.2',
    'aws-kms-key.100000.1',
    'aws-kms-key.100000.2',
    'aws-kms-key.2.1',
    'aws-kms-key.2.2',
    'aws-kms-key.3.1',
    'aws-kms-key.3.2',
    'aws-kms-key.4294967295.1',
    'aws-kms-key.4294967295.2',
    'aws-kms-key.77.1',
    'aws-kms-key.77.2',
  ]);
  await server.restart();
  expect(server.log).toContain('AWS KMS plugin: loaded key 4294967295, version 2, key length 256 bit');
  for (const id of ids)
    expect(await server.sql(`SELECT MIN(i) AS i FROM d.t${id}`)).toEqual([{ i: id === 4_294_967_295 ? 5 : id % 1000 }]);
  const used = await server.sql(
    "SELECT CURRENT_KEY_ID AS id FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE NAME = 'd/t3'",
  );
  expect(used).toEqual([{ id: 77 }]);
});

it('a server loads version 1000 and an unchanged key directory of the original plugin, without sidecars', async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=1234');
  await server.sql('INSERT INTO d.t VALUES (42)');
  await server.stop();
  for (const file of keyFiles(server.datadir).filter((name) => name.endsWith('.json')))
    rmSync(join(server.datadir, file));
  // A further version far up, as the original plugin would have it after many rotations.
  const made = kms.kms.generateDataKeyWithoutPlaintext({
    region: 'us-east-1',
    keyId: 'alias/mariadb-encryption',
    keySpec: 'AES_128',
  });
  writeFileSync(join(server.datadir, 'new'), made.ciphertextBlob, { mode: 0o444 });
  renameSync(join(server.datadir, 'new'), join(server.datadir, 'aws-kms-key.1234.1000'));
  const before = readFileSync(join(server.datadir, 'aws-kms-key.1234.1'));
  await server.start();
  expect(await server.variable('STATUS', 'Aws_key_management_key_1234_latest_version')).toBe('1000');
  expect(await server.sql('SELECT i FROM d.t')).toEqual([{ i: 42 }]);
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1234');
  expect(await server.variable('STATUS', 'Aws_key_management_key_1234_latest_version')).toBe('1001');
  expect(readFileSync(join(server.datadir, 'aws-kms-key.1234.1')).equals(before)).toBe(true);
});

it('keys are stored in keyfile_dir, absolute or relative to the data directory, and a missing one is named', async () => {
  const kms = await startKms();
  const server = newServer(pluginOptions(kms.url, { aws_key_management_keyfile_dir: '../keys' }));
  mkdirSync(join(server.directory, 'keys'));
  await server.start();
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=5');
  expect(keyFiles(join(server.directory, 'keys'))).toEqual(
    ['aws-kms-key.1.1', 'aws-kms-key.5.1'].flatMap((file) => [file, `${file}.json`]),
  );
  expect(keyFiles(server.datadir)).toEqual([]);
  await server.stop();
  server.options = { ...server.options, aws_key_management_keyfile_dir: '/nowhere/keys' };
  await expect(server.start()).rejects.toThrow(
    /AWS KMS plugin: cannot list the key directory \/nowhere\/keys: ENOENT.*; if aws_key_management_keyfile_dir names the directory of the keys, mount it, or restore it/,
  );
});
