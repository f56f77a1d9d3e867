/** A loaded server changes from file_key_management to KMS and back, with one restart each and no page written anew. */
import { execFile, execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  COMMAND,
  EVERYTHING_ENCRYPTED,
  PATH,
  pluginOptions,
  type Row,
  type ScratchServer,
  type ServerOptions,
  serverPlugin,
  TEST_CREDENTIALS,
} from '../../harness/scratch-server.ts';
import { startAfterKill } from '../../harness/start-after-kill.ts';
import { TEST_ACCESS_KEY } from '../../src/dev-kms/index.ts';
import { keyFiles, MASTER_KEY, newServer, startKms } from '../support/lab.ts';
import { pluginDirectoryWith } from '../support/native.ts';
import { scratchDirectory } from '../support/scratch.ts';

const KEYS = {
  1: '00112233445566778899aabbccddeeff',
  3: 'f0e1d2c3b4a5968778695a4b3c2d1e0ff0e1d2c3b4a5968778695a4b3c2d1e0f',
  4: '0123456789abcdef0123456789abcdef0123456789abcdef',
};
const PASSPHRASE = 'correct horse';
/** Tables of every kind; none has a FULLTEXT search, which the test makes after it has checked them. */
const TABLES: Readonly<Record<string, string>> = {
  plain: 'ENGINE=InnoDB',
  own_key: 'ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3',
  key_192: 'ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=4',
  compressed: 'ENGINE=InnoDB ROW_FORMAT=COMPRESSED ENCRYPTED=YES ENCRYPTION_KEY_ID=3',
  page_compressed: 'ENGINE=InnoDB PAGE_COMPRESSED=1 ENCRYPTED=YES ENCRYPTION_KEY_ID=3',
  parts: 'ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3 PARTITION BY HASH (id) PARTITIONS 3',
  aria: 'ENGINE=Aria TRANSACTIONAL=1 ROW_FORMAT=PAGE',
};

interface Ended {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

function command(server: ScratchServer, ...words: readonly string[]): Promise<Ended> {
  const env = { PATH, ...TEST_CREDENTIALS, AWS_EC2_METADATA_DISABLED: 'true' };
  const [verb = '', source = '', ...more] = words;
  const files = [
    '--defaults-file',
    join(server.directory, 'my.cnf'),
    '--audit-log',
    join(server.directory, 'audit.log'),
  ];
  const line = [verb, source, ...files, ...more];
  return new Promise((resolve) => {
    execFile(COMMAND, line, { env, encoding: 'utf8' }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? 'killed'), stdout, stderr });
    });
  });
}

/** The options, as a server has them and in the option file that commands read. */
function configure(server: ScratchServer, options: ServerOptions): void {
  server.options = options;
  const lines = Object.entries({ datadir: server.datadir, ...options })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name} = ${value}`);
  writeFileSync(join(server.directory, 'my.cnf'), `[mariadb]\n${lines.join('\n')}\n`);
}

function underFile(server: ScratchServer, more: ServerOptions = {}): ServerOptions {
  return {
    ...EVERYTHING_ENCRYPTED,
    plugin_dir: pluginDirectoryWith(serverPlugin('file_key_management')),
    plugin_maturity: 'unknown',
    plugin_load_add: 'file_key_management',
    file_key_management_filename: join(server.directory, 'keys.txt'),
    ...more,
  };
}

async function fill(server: ScratchServer): Promise<void> {
  await server.sql('CREATE DATABASE IF NOT EXISTS d');
  for (const [name, how] of Object.entries(TABLES)) {
    await server.sql(
      `CREATE TABLE IF NOT EXISTS d.${name} (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(255), KEY (text)) ${how}`,
    );
    await server.sql(`INSERT INTO d.${name} (text) SELECT CONCAT(seq, ' ', REPEAT(UUID(), 5)) FROM d.seq_1_to_300`);
  }
  await server.sql(
    'CREATE TABLE IF NOT EXISTS d.words (id INT PRIMARY KEY AUTO_INCREMENT, text TEXT, FULLTEXT (text)) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3',
  );
  await server.sql("INSERT INTO d.words (text) SELECT CONCAT('apple number ', seq) FROM d.seq_1_to_50");
}

/** Checks every table, also through temporary files and tables, which are encrypted too. */
async function contents(server: ScratchServer): Promise<readonly Row[]> {
  const session = await server.connect();
  await session.query('SET tmp_memory_table_size=0, sort_buffer_size=65536, max_heap_table_size=16384');
  const found: Row[] = [];
  for (const table of [...Object.keys(TABLES), 'words']) {
    const check: Row[] = await session.query(`CHECK TABLE d.${table} EXTENDED`);
    expect(check.map(({ Msg_text }) => Msg_text)).toEqual(['OK']);
    const rows: Row[] = await session.query(
      `SELECT COUNT(*) AS n, SUM(CRC32(CONCAT(id, text))) AS crc FROM (SELECT DISTINCT id, text FROM d.${table} ORDER BY MD5(text)) AS t`,
    );
    found.push(...rows);
  }
  found.push(...(await session.query("SELECT COUNT(*) AS n FROM d.words WHERE MATCH (text) AGAINST ('apple')")));
  for (const { Log_name } of await server.sql('SHOW BINARY LOGS')) {
    const events = await server.sql(`SHOW BINLOG EVENTS IN '${String(Log_name)}'`);
    expect(events.map(({ Event_type }) => Event_type)).toContain('Start_encryption');
  }
  await session.end();
  return found;
}

it('a loaded server changes from an encrypted key file to KMS and back, and nothing is encrypted again', async () => {
  const kms = await startKms();
  const server = newServer({});
  const path = (name: string): string => join(server.directory, name);
  const [clear, sealed, secret] = [path('clear'), path('keys.txt'), path('passphrase')];
  const lines = Object.entries(KEYS).map(([id, hex]) => `${id};${hex}`);
  writeFileSync(clear, `${lines.join('\n')} a note\n`);
  writeFileSync(secret, `${PASSPHRASE}\n`);
  const options = ['-aes-256-cbc', '-md', 'sha1', '-pass', `pass:${PASSPHRASE}`, '-in', clear, '-out', sealed];
  execFileSync('openssl', ['enc', ...options], { stdio: 'ignore' });
  configure(server, underFile(server, { file_key_management_filekey: `FILE:${secret}` }));
  await server.start();
  await fill(server);
  const before = await contents(server);

  // The server runs on while its keys are imported, and is killed: its redo log has to be recovered under the new plugin.
  const into = ['--master-key-id', MASTER_KEY, '--endpoint-url', kms.url, '--region', 'us-east-1'];
  const rehearsed = await command(server, 'import', 'file-key-management', ...into, '--dry-run');
  expect(rehearsed, rehearsed.stderr).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('3 keys would be stored'),
  });
  expect(keyFiles(server.datadir)).toEqual([]);
  const moved = await command(server, 'import', 'file-key-management', ...into);
  expect(moved, moved.stderr).toMatchObject({
    code: 0,
    stderr: expect.stringContaining(
      `mariadb-aws-kms: warning: the key file ${sealed}: line 3: key 4: text stands behind the key: the server takes 48 hexadecimal digits, 192 bits, and ignores what follows\n`,
    ),
  });
  const shown = moved.stdout
    .replaceAll(server.directory, '/srv')
    .replace(/opens [\d,]+ pages and events of \d+ files?/g, 'opens N');
  expect(shown).toBe(`key 1 version 1 opens N
key 3 version 1 opens N
key 4 version 1 opens N
/srv/data: 3 keys stored for AES_CBC, wrapped by ${MASTER_KEY}
Take out of the option files:
  plugin_load_add = file_key_management
  file_key_management_filename = /srv/keys.txt
  file_key_management_filekey = FILE:/srv/passphrase
Write into the option file of the server, below [mariadb]:
  plugin_load_add = aws_key_management
  aws_key_management_master_key_id = ${MASTER_KEY}
  aws_key_management_region = us-east-1
  aws_key_management_endpoint_url = ${kms.url}
Then restart the server, once. No data is encrypted again.
When it runs, destroy, with every copy and backup of them:
  /srv/keys.txt
  /srv/passphrase
`);
  for (const hex of Object.values(KEYS)) expect(moved.stdout + moved.stderr).not.toContain(hex);
  expect(keyFiles(server.datadir)).toHaveLength(6);
  const again = await command(server, 'import', 'file-key-management', ...into, '--json');
  expect([again.code, JSON.parse(again.stdout)]).toMatchObject([0, { ok: true, imported: [], already: { length: 3 } }]);
  await server.kill();
  for (const file of [clear, sealed, secret]) rmSync(file);
  const page = readFileSync(join(server.datadir, 'd/own_key.ibd')).subarray(4 * 16_384, 5 * 16_384);

  configure(server, pluginOptions(kms.url, { ...EVERYTHING_ENCRYPTED, aws_key_management_region: 'us-east-1' }));
  await startAfterKill(server);
  expect(await contents(server)).toEqual(before);
  expect(
    readFileSync(join(server.datadir, 'd/own_key.ibd'))
      .subarray(4 * 16_384, 5 * 16_384)
      .equals(page),
  ).toBe(true);
  await fill(server);
  const after = await contents(server);

  const refused = await command(server, 'export', 'file-key-management', '--to', path('keys.txt'));
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('--write-data-keys') });
  expect(existsSync(path('keys.txt'))).toBe(false);
  writeFileSync(secret, `${PASSPHRASE}\n`);
  chmodSync(secret, 0o600);
  const back = ['--to', path('keys.txt'), '--filekey', secret, '--write-data-keys'];
  const exported = await command(server, 'export', 'file-key-management', ...back);
  expect(exported, exported.stderr).toMatchObject({ code: 0 });
  expect(statSync(path('keys.txt')).mode & 0o777).toBe(0o600);
  expect(await command(server, 'export', 'file-key-management', ...back)).toMatchObject({ code: 1 });
  const log = readFileSync(path('audit.log'), 'utf8');
  const entries = log
    .trim()
    .split('\n')
    .map((line): { command: string; outcome?: string } => JSON.parse(line));
  expect(entries.flatMap(({ command: verb, outcome = '' }) => (outcome === '' ? [] : [`${verb}: ${outcome}`]))).toEqual(
    [
      'import file-key-management: done',
      'import file-key-management: done',
      'export file-key-management: done',
      'export file-key-management: failed',
    ],
  );
  for (const hex of [...Object.values(KEYS), PASSPHRASE]) expect(log).not.toContain(hex);
  await server.kill();
  configure(server, underFile(server, { file_key_management_filekey: `FILE:${secret}` }));
  await startAfterKill(server);
  expect(await contents(server)).toEqual(after);
  expect(after).not.toEqual(before);
});

it('keys of AES_CTR are imported as such, and a server whose keys are mixed is refused by name', async () => {
  const kms = await startKms({ accessKeys: [{ ...TEST_ACCESS_KEY, denied: ['Encrypt'] }] });
  const server = newServer({});
  const file = join(server.directory, 'keys.txt');
  writeFileSync(file, `1;${KEYS[1]}\n3;${KEYS[3]}\n`);
  configure(
    server,
    underFile(server, {
      log_bin: undefined,
      encrypt_binlog: undefined,
      file_key_management_encryption_algorithm: 'AES_CTR',
    }),
  );
  await server.start();
  await server.sql('CREATE DATABASE d');
  for (const name of ['own_key', 'aria'])
    await server.sql(`CREATE TABLE d.${name} (id INT PRIMARY KEY, text VARCHAR(255)) ${TABLES[name]}`);
  for (const name of ['own_key', 'aria'])
    await server.sql(`INSERT INTO d.${name} SELECT seq, REPEAT(seq, 9) FROM d.seq_1_to_500`);
  await server.stop();
  const keys = scratchDirectory();
  const into = ['--master-key-id', MASTER_KEY, '--region', 'us-east-1', '--keyfile-dir', keys];
  const denied = await command(server, 'import', 'file-key-management', ...into, '--endpoint-url', kms.url);
  expect(denied.stderr).toContain('the identity that runs this needs kms:Encrypt and kms:Decrypt');
  expect([denied.code, keyFiles(keys)]).toEqual([1, []]);
  writeFileSync(file, `1;${KEYS[1]}\n`);
  const mixed = await command(server, 'import', 'file-key-management', ...into, '--endpoint-url', kms.url);
  expect(mixed).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/error: key 3 version 1 is not in the key file .*, and d\/own_key\.ibd needs it\n/),
  });
  writeFileSync(file, `1;${KEYS[1]}\n3;${KEYS[1]}\n`);
  const wrong = await command(server, 'import', 'file-key-management', ...into, '--endpoint-url', kms.url);
  expect(wrong).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/error: d\/own_key\.ibd does not open with the key file .*: page \d+/),
  });
  // Options that name no mode: the data shows it.
  writeFileSync(file, `1;${KEYS[1]}\n3;${KEYS[3]}\n`);
  configure(server, { plugin_load_add: 'aws_key_management' });
  const other = await startKms();
  const moved = await command(
    server,
    'import',
    'file-key-management',
    '--key-file',
    file,
    ...into,
    '--endpoint-url',
    other.url,
  );
  expect(moved, moved.stderr).toMatchObject({ code: 0, stdout: expect.stringContaining('2 keys stored for AES_CTR') });
  const sidecar: unknown = JSON.parse(readFileSync(join(keys, 'aws-kms-key.3.1.json'), 'utf8'));
  expect(sidecar).toMatchObject({ keySpec: 'AES_256', encryptionAlgorithm: 'AES_CTR' });
  configure(server, pluginOptions(other.url, { ...EVERYTHING_ENCRYPTED, aws_key_management_keyfile_dir: keys }));
  await server.start();
  const [row] = await server.sql('SELECT COUNT(*) AS n FROM d.own_key JOIN d.aria USING (id, text)');
  expect(Number(row?.['n'])).toBe(500);
});
