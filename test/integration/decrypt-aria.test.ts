/** Decrypted Aria tables are read by aria_chk, and by a server that has no key. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type ScratchServer, serverTool } from '../../harness/scratch-server.ts';
import { decrypt } from '../support/decrypting.ts';
import { newServer, startKms, startServer } from '../support/lab.ts';

const COLUMNS = 'i INT, s VARCHAR(200), c CHAR(30), n INT, b LONGBLOB, t TEXT, PRIMARY KEY(i), KEY(s), KEY(n)';
const WIDE = Array.from({ length: 20 }, (_, index) => `v${index}`);
const MANY = Array.from({ length: 60 }, (_, index) => `b${index}`);
const MARKER = 'the quick brown secret';
/** Each table with the columns that its rows are compared by. */
const TABLES: Readonly<Record<string, readonly string[]>> = {
  transactional: ['i', 's', 'c', 'n', 'b', 't'],
  plain: ['i', 's', 'c', 'n', 'b', 't'],
  checksums: ['i', 's', 'c', 'n', 'b', 't'],
  no_page_checksums: ['i', 's', 'c', 'n', 'b', 't'],
  wide: ['i', ...WIDE, 'b'],
  many: ['i', ...MANY],
  words: ['i', 't'],
  points: ['i', 'ST_AsText(g)'],
  bulk: ['i', 's', 'b'],
  emptied: ['i', 'b'],
  no_rows: ['i'],
};

async function createTables(server: ScratchServer): Promise<void> {
  await server.sql('CREATE DATABASE d');
  const options = { transactional: 1, plain: 0, checksums: '1 CHECKSUM=1', no_page_checksums: '0 PAGE_CHECKSUM=0' };
  for (const [name, transactional] of Object.entries(options)) {
    await server.sql(`CREATE TABLE d.${name} (${COLUMNS}) ENGINE=Aria TRANSACTIONAL=${transactional}`);
    await server.sql(
      `INSERT INTO d.${name} SELECT seq, REPEAT('s', seq % 180), 'c', seq, REPEAT(CHAR(65 + seq % 26), (seq * 97) % 30000), CONCAT('${MARKER}', REPEAT('t', (seq * 31) % 5000)) FROM d.seq_1_to_100`,
    );
    // Blobs that end just before and after the end of a page, in either form of it.
    for (const length of [1, 31, 32, 6143, 6144, 6145, 8176, 8177, 8180, 8181, 16352, 16353, 16360, 16361, 100_000])
      await server.sql(`INSERT INTO d.${name} VALUES (${1000 + length}, 'x', 'y', NULL, REPEAT('b', ${length}), NULL)`);
    await server.sql(`DELETE FROM d.${name} WHERE i % 7 = 0 AND i < 100`);
    await server.sql(`UPDATE d.${name} SET b = REPEAT('u', i * 50), t = REPEAT('v', i) WHERE i % 5 = 0 AND i < 100`);
  }
  await server.sql(
    `CREATE TABLE d.wide (i INT PRIMARY KEY, ${WIDE.map((name) => `${name} VARCHAR(3000)`).join(', ')}, b BLOB) ENGINE=Aria CHARSET latin1`,
  );
  for (let row = 1; row < 20; row += 1)
    await server.sql(
      `INSERT INTO d.wide VALUES (${row}, ${WIDE.map((_, index) => `REPEAT('w', ${(row * 211 * (index + 1)) % 3000})`).join(', ')}, REPEAT('b', ${row * 400}))`,
    );
  await server.sql(
    `CREATE TABLE d.many (i INT PRIMARY KEY, ${MANY.map((name) => `${name} MEDIUMBLOB`).join(', ')}) ENGINE=Aria`,
  );
  for (let row = 1; row < 4; row += 1)
    await server.sql(
      `INSERT INTO d.many VALUES (${row}, ${MANY.map((_, index) => `REPEAT('m', ${(row * 977 * (index + 1)) % 20000})`).join(', ')})`,
    );
  await server.sql('CREATE TABLE d.words (i INT PRIMARY KEY, t TEXT, FULLTEXT KEY(t)) ENGINE=Aria');
  await server.sql("INSERT INTO d.words SELECT seq, CONCAT('word', seq, ' common') FROM d.seq_1_to_1000");
  await server.sql(
    'CREATE TABLE d.points (i INT PRIMARY KEY, g POINT NOT NULL, SPATIAL INDEX(g)) ENGINE=Aria SELECT seq AS i, POINT(seq, seq) AS g FROM d.seq_1_to_1000',
  );
  await server.sql(
    "CREATE TABLE d.bulk (i INT PRIMARY KEY, s VARCHAR(200), b LONGBLOB, KEY(s)) ENGINE=Aria SELECT seq AS i, 'x' AS s, REPEAT('z', seq % 9000) AS b FROM d.seq_1_to_500",
  );
  await server.sql(
    "CREATE TABLE d.emptied (i INT PRIMARY KEY, b BLOB) ENGINE=Aria SELECT seq AS i, REPEAT('z', seq) AS b FROM d.seq_1_to_1000",
  );
  await server.sql('DELETE FROM d.emptied WHERE i > 3');
  await server.sql('CREATE TABLE d.no_rows (i INT PRIMARY KEY) ENGINE=Aria');
  // Four bytes more on each of some 2,000 pages make a whole page.
  await server.sql("INSERT INTO d.transactional VALUES (5000000, 'x', 'y', 1, REPEAT('longest', 2396744), 'and')");
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
  await server.sql(
    "INSERT INTO d.transactional SELECT seq + 200, 'new', 'version', seq, NULL, 'x' FROM d.seq_1_to_300",
  );
}

async function sums(server: ScratchServer): Promise<readonly unknown[]> {
  const found: unknown[] = [];
  for (const [table, columns] of Object.entries(TABLES))
    found.push(
      table,
      ...(await server.sql(
        `SELECT COUNT(*) AS n, SUM(CRC32(CONCAT_WS('|', ${columns.join(', ')}))) AS s FROM d.${table}`,
      )),
    );
  return found;
}

it('aria_chk and a server without keys accept decrypted tables of every kind, and the server changes them', async () => {
  const kms = await startKms();
  const server = await startServer(kms, { aria_encrypt_tables: 'ON' });
  await createTables(server);
  const rows = await sums(server);
  await server.stop();
  // No setting of the server encrypts this log, which has the rows of encrypted tables.
  expect(readFileSync(join(server.datadir, 'aria_log.00000001')).includes(MARKER)).toBe(true);
  expect(readFileSync(join(server.datadir, 'd/transactional.MAD')).includes(MARKER)).toBe(false);

  const copies = join(server.directory, 'copies');
  mkdirSync(copies);
  const files = Object.keys(TABLES).map((table) => join(server.datadir, 'd', `${table}.MAI`));
  const decrypted = await decrypt('aria', server.datadir, kms.url, '--to', copies, ...files);
  expect(decrypted.status, decrypted.stderr).toBe(0);
  expect(decrypted.stdout).toMatch(/transactional\.MAI: \d+ pages, encrypted with key versions 1, 2 \(AES_CBC\)/);
  expect(readdirSync(copies)).toHaveLength(3 * files.length);
  for (const name of readdirSync(copies)) expect(statSync(join(copies, name)).mode & 0o777).toBe(0o600);
  expect(readFileSync(join(copies, 'transactional.MAD')).includes(MARKER)).toBe(true);

  const check = (...more: readonly string[]): void => {
    for (const table of Object.keys(TABLES)) {
      const args = ['--no-defaults', '--silent', '--ignore-control-file', ...more, `${table}.MAI`];
      execFileSync(serverTool('aria_chk'), args, { cwd: copies, encoding: 'utf8' });
    }
  };
  check('--check', '--extend-check');
  check('--zerofill');
  check('--check', '--extend-check');

  const fresh = newServer({ plugin_dir: undefined });
  await fresh.start();
  await fresh.sql('CREATE DATABASE d');
  for (const name of readdirSync(copies)) copyFileSync(join(copies, name), join(fresh.datadir, 'd', name));
  expect(await sums(fresh)).toEqual(rows);
  for (const [table, columns] of Object.entries(TABLES)) {
    const whole = async (): Promise<void> => {
      expect(await fresh.sql(`CHECK TABLE d.${table} EXTENDED`)).toMatchObject([{ Msg_text: 'OK' }]);
    };
    await whole();
    await fresh.sql(`DELETE FROM d.${table} WHERE i % 2 = 1`);
    if (columns.includes('b')) await fresh.sql(`UPDATE d.${table} SET b = REPEAT('w', 20000)`);
    await whole();
  }
}, 60_000);
