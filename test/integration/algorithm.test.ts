/** `aws_key_management_encryption_algorithm`: a property of each key version, with file_key_management's meaning. */
import { createCipheriv } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  EVERYTHING_ENCRYPTED,
  pluginOptions,
  type Row,
  type ScratchServer,
  type ServerOptions,
  serverPlugin,
} from '../../harness/scratch-server.ts';
import { startAfterKill } from '../../harness/start-after-kill.ts';
import type { DevKms } from '../../src/dev-kms/index.ts';
import type { EncryptionAlgorithm } from '../../src/format/encryption-algorithm.ts';
import { keyFiles, newServer, run, sqlError, startKms, startServer } from '../support/lab.ts';
import { backUp, prepare } from '../support/mariadb-backup.ts';
import { compile, pluginDirectoryWith } from '../support/native.ts';
import { scratchDirectory, until } from '../support/scratch.ts';

const FILE_KEY_MANAGEMENT = serverPlugin('file_key_management');
/** Flags of the encryption interface, and one of the probe. */
const [ENCRYPT, NOPAD, IN_TWO] = [1, 2, 16];

/** Unwraps the data key without the plugin. */
function dataKeyOf(kms: DevKms, directory: string, file: string): Buffer {
  const sidecar: { masterKeyArn: string; encryptionContext?: Record<string, string> } = JSON.parse(
    readFileSync(join(directory, `${file}.json`), 'utf8'),
  );
  const { plaintext } = kms.kms.decrypt({
    region: 'us-east-1',
    ciphertextBlob: readFileSync(join(directory, file)),
    keyId: sidecar.masterKeyArn,
    encryptionContext: sidecar.encryptionContext ?? {},
  });
  return Buffer.from(plaintext);
}

/** Options of a server with the same data keys under file_key_management, which knows version 1 only. */
function underFileKeyManagement(kms: DevKms, server: ScratchServer, algorithm: EncryptionAlgorithm): ServerOptions {
  const lines = keyFiles(server.datadir).flatMap((file) => {
    const [, id] = /^aws-kms-key\.(\d+)\.1$/.exec(file) ?? [];
    return id === undefined ? [] : [`${id};${dataKeyOf(kms, server.datadir, file).toString('hex')}`];
  });
  const path = join(server.directory, 'keys.txt');
  writeFileSync(path, `${lines.join('\n')}\n`);
  return {
    plugin_load_add: 'file_key_management',
    file_key_management: 'FORCE',
    file_key_management_filename: path,
    file_key_management_encryption_algorithm: algorithm,
  };
}

async function crypt(
  server: ScratchServer,
  flags: number,
  data: Uint8Array,
  iv: Uint8Array,
  version = 1,
): Promise<string | null> {
  const hex = (bytes: Uint8Array): string => `UNHEX('${Buffer.from(bytes).toString('hex')}')`;
  const [row] = await server.sql(
    `SELECT HEX(encryption_bytes(1, ${version}, ${flags}, ${hex(data)}, ${hex(iv)})) AS bytes`,
  );
  const bytes = row?.['bytes'];
  return typeof bytes === 'string' ? bytes.toLowerCase() : null;
}

async function lengthOf(server: ScratchServer, size: number): Promise<number> {
  const [row] = await server.sql(`SELECT CAST(encryption_probe('length', 1, 1, ${size}) AS CHAR) AS length`);
  return Number(row?.['length']);
}

async function loadProbe(server: ScratchServer): Promise<void> {
  for (const name of ['probe', 'bytes'])
    await server.sql(`CREATE FUNCTION encryption_${name} RETURNS STRING SONAME 'encryption_probe.so'`);
}

it.each([
  ['AES_CBC', 'AES_128'],
  ['AES_CTR', 'AES_256'],
] as const)('%s pages equal those of file_key_management with the same key of %s', async (algorithm, spec) => {
  const kms = await startKms();
  const plugin_dir = pluginDirectoryWith(compile('encryption_probe', 'library'), FILE_KEY_MANAGEMENT);
  const ours = await startServer(kms, {
    plugin_dir,
    aws_key_management_encryption_algorithm: algorithm,
    aws_key_management_key_spec: spec,
  });
  await loadProbe(ours);
  const theirs = newServer({
    plugin_dir,
    plugin_maturity: 'unknown',
    ...underFileKeyManagement(kms, ours, algorithm),
  });
  await theirs.start();
  await loadProbe(theirs);

  const iv = Buffer.from('000102030405060708090a0b0c0d0eff', 'hex');
  const data = (size: number): Buffer => Buffer.from(Array.from({ length: size }, (_, index) => index * 7));
  // Sizes: a page without its header and trailer, and lengths that are no whole number of blocks.
  for (const size of [16_384 - 26 - 4, 8192, 100, 16, 1]) {
    const encrypted = await crypt(ours, ENCRYPT | NOPAD, data(size), iv);
    expect(encrypted).toBe(await crypt(theirs, ENCRYPT | NOPAD, data(size), iv));
    expect(encrypted).toHaveLength(2 * size);
    expect(await crypt(ours, ENCRYPT | NOPAD | IN_TWO, data(size), iv)).toBe(encrypted);
    const back = Buffer.from(encrypted ?? '', 'hex');
    for (const server of [ours, theirs]) expect(await crypt(server, NOPAD, back, iv)).toBe(data(size).toString('hex'));
  }
  for (const size of [0, 1, 15, 16, 17, 65_536]) {
    const encrypted = await crypt(ours, ENCRYPT, data(size), iv);
    expect(encrypted).toBe(await crypt(theirs, ENCRYPT, data(size), iv));
    expect(encrypted).toHaveLength(2 * (await lengthOf(ours, size)));
    expect(await lengthOf(theirs, size)).toBe(await lengthOf(ours, size));
    const back = Buffer.from(encrypted ?? '', 'hex');
    for (const server of [ours, theirs]) expect(await crypt(server, 0, back, iv)).toBe(data(size).toString('hex'));
    back[0] = (back[0] ?? 0) ^ 1;
    // AES-GCM detects any change, AES-CBC at most through its padding.
    if (algorithm === 'AES_CTR') expect(await crypt(ours, 0, back, iv)).toBeNull();
  }
  // Both servers use the requested mode.
  const key = dataKeyOf(kms, ours.datadir, 'aws-kms-key.1.1');
  const mode = algorithm === 'AES_CTR' ? 'ctr' : 'cbc';
  const cipher = createCipheriv(`aes-${key.length * 8}-${mode}`, key, iv);
  expect(await crypt(ours, ENCRYPT | NOPAD, data(8192), iv)).toBe(cipher.update(data(8192)).toString('hex'));
});

const TABLES = ['d.own_key', 'd.default_key', 'd.compressed', 'd.aria'];

async function createTables(server: ScratchServer): Promise<void> {
  await server.sql('CREATE DATABASE d');
  const columns = '(id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(255), KEY (text))';
  await server.sql(`CREATE TABLE d.own_key ${columns} ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3`);
  await server.sql(`CREATE TABLE d.default_key ${columns} ENGINE=InnoDB`);
  await server.sql(
    `CREATE TABLE d.compressed ${columns} ENGINE=InnoDB PAGE_COMPRESSED=1 ENCRYPTED=YES ENCRYPTION_KEY_ID=3`,
  );
  await server.sql(`CREATE TABLE d.aria ${columns} ENGINE=Aria TRANSACTIONAL=1 ROW_FORMAT=PAGE`);
  await addRows(server);
}

async function addRows(server: ScratchServer): Promise<void> {
  for (const table of TABLES)
    await server.sql(`INSERT INTO ${table} (text) SELECT CONCAT(seq, ' ', REPEAT(UUID(), 5)) FROM d.seq_1_to_500`);
}

/** Reads through temporary files and tables, which are encrypted too. */
async function contents(server: ScratchServer): Promise<readonly Row[]> {
  const session = await server.connect();
  await session.query('SET tmp_memory_table_size=0, sort_buffer_size=65536, max_heap_table_size=16384');
  const found: Row[] = [];
  for (const table of TABLES) {
    const rows: Row[] = await session.query(
      `SELECT COUNT(*) AS n, SUM(CRC32(CONCAT(id, text))) AS crc FROM (SELECT DISTINCT id, text FROM ${table} ORDER BY MD5(text)) AS t`,
    );
    const check: Row[] = await session.query(`CHECK TABLE ${table} EXTENDED`);
    expect(check.map(({ Msg_text }) => Msg_text)).toEqual(['OK']);
    found.push(...rows);
  }
  await session.end();
  return found;
}

async function readBinaryLogs(server: ScratchServer): Promise<void> {
  for (const { Log_name } of await server.sql('SHOW BINARY LOGS')) {
    const events = await server.sql(`SHOW BINLOG EVENTS IN '${String(Log_name)}'`);
    expect(events.map(({ Event_type }) => Event_type)).toContain('Start_encryption');
  }
}

it('file_key_management with aes_ctr reads data of this plugin, and this plugin reads its data', async () => {
  const kms = await startKms();
  const ours: ServerOptions = pluginOptions(kms.url, {
    ...EVERYTHING_ENCRYPTED,
    aws_key_management_encryption_algorithm: 'AES_CTR',
  });
  const server = newServer(ours);
  await server.start();
  await createTables(server);
  const before = await contents(server);
  await server.kill();
  const plugin_dir = pluginDirectoryWith(FILE_KEY_MANAGEMENT);
  server.options = { ...EVERYTHING_ENCRYPTED, plugin_dir, ...underFileKeyManagement(kms, server, 'AES_CTR') };
  await startAfterKill(server);
  expect(await contents(server)).toEqual(before);
  await readBinaryLogs(server);
  await addRows(server);
  const after = await contents(server);
  await server.kill();
  server.options = ours;
  await startAfterKill(server);
  expect(await contents(server)).toEqual(after);
  await readBinaryLogs(server);
  expect(after).not.toEqual(before);
});

/** The oldest version on the pages of a tablespace. */
async function oldestVersion(server: ScratchServer, table: string): Promise<number> {
  const [row] = await server.sql(
    `SELECT MIN_KEY_VERSION AS v FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE NAME='${table}'`,
  );
  return Number(row?.['v']);
}

/** One rotation alone moves no page: MariaDB's threads take those that are two versions behind. */
async function rotateUnder(server: ScratchServer, algorithm: EncryptionAlgorithm, times: number): Promise<void> {
  await server.sql(`SET GLOBAL aws_key_management_encryption_algorithm=${algorithm}`);
  for (let i = 0; i < times; i += 1) await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
}

async function algorithmOf(server: ScratchServer, id: number): Promise<string | undefined> {
  return await server.variable('STATUS', `Aws_key_management_key_${id}_encryption_algorithm`);
}

it('a live server moves to AES_CTR and back, through kills and with any value at the next start', async () => {
  const kms = await startKms();
  const options = { ...EVERYTHING_ENCRYPTED, innodb_encryption_threads: 4, innodb_encryption_rotate_key_age: 1 };
  const server = await startServer(kms, options);
  await createTables(server);
  const start = async (algorithm: EncryptionAlgorithm): Promise<void> => {
    server.options = { ...server.options, aws_key_management_encryption_algorithm: algorithm };
    await startAfterKill(server);
  };
  const isMoved = async (version: number): Promise<void> =>
    await until(`no page of d.own_key is below version ${version}`, async () => {
      // An idle server does not notice a new version.
      await server.sql("INSERT INTO d.default_key (text) VALUES ('')");
      return (await oldestVersion(server, 'd/own_key')) >= version;
    });
  let last = 1;
  for (const [algorithm, other] of [
    ['AES_CTR', 'AES_CBC'],
    ['AES_CBC', 'AES_CTR'],
  ] as const) {
    await rotateUnder(server, algorithm, 2);
    last += 2;
    await addRows(server);
    const before = await contents(server);
    // Some pages are on the new version, some on the old one.
    await server.kill();
    await start(other);
    expect(await contents(server)).toEqual(before);
    expect(await algorithmOf(server, 3)).toBe(algorithm);
    await isMoved(last);
    const moved = await contents(server);
    await server.kill();
    await start(algorithm);
    expect(await contents(server)).toEqual(moved);
    await readBinaryLogs(server);
  }
  const warnings = server.log.match(/\[Warning\] .*encrypts with AES_CTR: the C\+\+ plugin can read neither it/g);
  expect(warnings).toHaveLength(1);
  expect(server.log).not.toMatch(/corrupt|decryption failed|checksum mismatch/i);

  for (const file of keyFiles(server.datadir)) if (file.endsWith('.json')) rmSync(join(server.datadir, file));
  const whole = await contents(server);
  await server.restart();
  expect(await contents(server)).toEqual(whole);
  expect(server.log).toMatch(/loaded key 3, version 2, key length 128 bit, AES_CTR\n/);
  expect(server.log).toMatch(/loaded key 3, version 5, key length 128 bit\n/);
  // Sidecars are written anew for keys that KMS has bound to their place, and for no others.
  const sidecars = keyFiles(server.datadir).filter((file) => file.endsWith('.json'));
  expect(sidecars).toEqual([1, 2, 3].flatMap((id) => [`aws-kms-key.${id}.2.json`, `aws-kms-key.${id}.3.json`]));
});

it('a backup begun under AES_CBC contains the rotation to AES_CTR that happened meanwhile', async () => {
  const kms = await startKms();
  const server = await startServer(kms, EVERYTHING_ENCRYPTED);
  await createTables(server);
  const target = scratchDirectory();
  const session = await server.connect();
  let isOver = false;
  let isRotated = false;
  const writing = (async () => {
    while (!isOver) {
      if (!isRotated && existsSync(join(target, 'ibdata1'))) {
        await rotateUnder(server, 'AES_CTR', 2);
        isRotated = true;
      }
      await session.query('INSERT INTO d.own_key (text) VALUES (REPEAT(UUID(), 6))');
    }
  })();
  await backUp(server, target).finally(() => {
    isOver = true;
  });
  await writing;
  expect(isRotated).toBe(true);
  const count = `SELECT COUNT(*) AS n, MIN(text LIKE '%-%') AS whole FROM d.own_key`;
  const [atServer] = await server.sql(count);
  await prepare(target);
  const restored = newServer(server.options);
  rmSync(restored.datadir, { recursive: true });
  mkdirSync(restored.datadir);
  await run('cp', ['-a', `${target}/.`, restored.datadir]);
  await restored.start();
  const [inBackup] = await restored.sql(count);
  expect(Number(inBackup?.['n'])).toBeGreaterThan(500);
  expect(Number(inBackup?.['n'])).toBeLessThanOrEqual(Number(atServer?.['n']));
  expect(inBackup?.['whole']).toBe(1);
  expect(await algorithmOf(restored, 3)).toBe('AES_CTR');
});

it('the encryption algorithm is set by a statement, shows in the status, and works in mock mode', async () => {
  const server = newServer({
    plugin_load_add: 'aws_key_management',
    aws_key_management: 'FORCE',
    aws_key_management_mock: 'ON',
    aws_key_management_encryption_algorithm: 'aes_ctr',
  });
  await server.start();
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=7');
  await server.sql('INSERT INTO d.t VALUES (1)');
  expect(await algorithmOf(server, 7)).toBe('AES_CTR');
  expect(
    await sqlError(
      server,
      'SET GLOBAL aws_key_management_encryption_algorithm=AES_CBC, GLOBAL aws_key_management_rotate_key=7',
    ),
  ).toContain('would not yet use the setting changed in the same statement');
  await rotateUnder(server, 'AES_CBC', 1);
  expect(await algorithmOf(server, 7)).toBe('AES_CBC');
  await server.sql('INSERT INTO d.t VALUES (2)');
  await server.restart();
  expect(await server.sql('SELECT i FROM d.t')).toEqual([{ i: 1 }, { i: 2 }]);
  expect(await algorithmOf(server, 1)).toBe('AES_CBC');
});
