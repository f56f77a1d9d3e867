/** `aws_key_management_kept_contexts`: encryption with kept contexts and by the server's functions, on the same data. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  EVERYTHING_ENCRYPTED,
  pluginOptions,
  type Row,
  type ScratchServer,
  type ServerOptions,
  TEST_CREDENTIALS,
} from '../../harness/scratch-server.ts';
import { startAfterKill } from '../../harness/start-after-kill.ts';
import type { EncryptionAlgorithm } from '../../src/format/encryption-algorithm.ts';
import { newServer, run, startKms, startServer } from '../support/lab.ts';
import { backUp, prepare } from '../support/mariadb-backup.ts';
import { compile, pluginDirectoryWith } from '../support/native.ts';
import { scratchDirectory, until } from '../support/scratch.ts';

const CBC_AND_CTR = ['AES_CBC', 'AES_CTR'] as const;

async function contexts(server: ScratchServer): Promise<string | undefined> {
  return await server.variable('STATUS', 'Aws_key_management_encryption_contexts');
}

function withKept(options: ServerOptions, kept: 'ON' | 'OFF'): ServerOptions {
  return { ...options, aws_key_management_kept_contexts: kept };
}

it('the status says whether contexts are kept, and the variable switches them off', async () => {
  const kms = await startKms();
  const server = await startServer(kms);
  expect(await contexts(server)).toBe('kept');
  expect(await server.variable('VARIABLES', 'aws_key_management_kept_contexts')).toBe('ON');
  await server.stop();
  server.options = withKept(server.options, 'OFF');
  await server.start();
  expect(await contexts(server)).toBe('not kept: switched off');
  expect(server.log).not.toContain('contexts');
});

it.each([
  ['openssl_partial', "this server's process has parts of several OpenSSL libraries", 'Note'],
  ['openssl_wrong_ctr', /(?:en|de)cryption with AES-CTR of \d+ bytes differs from the server's/, 'Warning'],
] as const)('with the library %s in its process the server encrypts itself', async (library, why, severity) => {
  const kms = await startKms();
  const environment = { ...TEST_CREDENTIALS, LD_PRELOAD: compile(library, 'library') };
  const server = newServer(pluginOptions(kms.url, EVERYTHING_ENCRYPTED), { environment });
  await server.start();
  const said = await contexts(server);
  expect(said).toMatch(/^not kept: /);
  const reason = said?.slice('not kept: '.length) ?? '';
  if (typeof why === 'string') expect(reason).toBe(why);
  else expect(reason).toMatch(why);
  const lines = server.log.split('\n').filter((line) => line.includes('encryption contexts'));
  expect(lines).toHaveLength(1);
  expect(lines[0]).toContain(
    `[${severity}] mariadbd: AWS KMS plugin: encryption contexts are not kept, the server's functions encrypt: ${reason}`,
  );
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB');
  await server.sql('INSERT INTO d.t VALUES (1)');
  await server.restart();
  expect(await server.sql('SELECT i FROM d.t')).toEqual([{ i: 1 }]);
});

/** Flags of the encryption interface, and one of the probe. */
const [ENCRYPT, NOPAD, IN_TWO] = [1, 2, 16];

it.each(CBC_AND_CTR)('%s gives the same bytes with kept contexts as without', async (algorithm) => {
  const kms = await startKms();
  const server = await startServer(kms, {
    plugin_dir: pluginDirectoryWith(compile('encryption_probe', 'library')),
    aws_key_management_encryption_algorithm: algorithm,
    group_concat_max_len: 100_000_000,
  });
  await server.sql("CREATE FUNCTION encryption_bytes RETURNS STRING SONAME 'encryption_probe.so'");
  // Version 2 has 256 bits, which are the server's business.
  await server.sql('SET GLOBAL aws_key_management_key_spec=AES_256');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
  const digests = async (): Promise<readonly Row[]> =>
    await server.sql(`SELECT version, flags, SHA2(GROUP_CONCAT(IFNULL(HEX(
        encryption_bytes(1, version, flags, LEFT(REPEAT(MD5(seq), 40), seq), UNHEX(MD5(seq)))), '-') ORDER BY seq), 256) AS d
      FROM mysql.seq_0_to_1200, (SELECT 1 AS version UNION SELECT 2) v,
        (SELECT ${NOPAD} AS flags UNION SELECT ${ENCRYPT | NOPAD} UNION SELECT ${NOPAD | IN_TWO} UNION
         SELECT ${ENCRYPT | NOPAD | IN_TWO} UNION SELECT ${ENCRYPT}) f
      GROUP BY version, flags ORDER BY version, flags`);
  expect(await contexts(server)).toBe('kept');
  const kept = await digests();
  expect(kept).toHaveLength(10);
  await server.stop();
  server.options = withKept(server.options, 'OFF');
  await server.start();
  expect(await digests()).toEqual(kept);
});

const TABLES = ['d.innodb', 'd.compressed', 'd.aria'];

async function createTables(server: ScratchServer): Promise<void> {
  await server.sql('CREATE DATABASE d');
  const columns = '(id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(255), KEY (text))';
  await server.sql(`CREATE TABLE d.innodb ${columns} ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3`);
  await server.sql(`CREATE TABLE d.compressed ${columns} ENGINE=InnoDB PAGE_COMPRESSED=1 ENCRYPTED=YES`);
  await server.sql(`CREATE TABLE d.aria ${columns} ENGINE=Aria TRANSACTIONAL=1 ROW_FORMAT=PAGE`);
}

/** Inserts and updates until the server ends; returns how many statements of each table were answered. */
async function write(server: ScratchServer, over: () => boolean): Promise<number[]> {
  return await Promise.all(
    TABLES.map(async (table) => {
      const session = await server.connect();
      session.on('error', () => undefined);
      let done = 0;
      try {
        while (!over()) {
          await session.query(`INSERT INTO ${table} (text) VALUES (REPEAT(UUID(), ${1 + (done % 7)}))`);
          done += 1;
        }
        await session.end();
      } catch {
        // The server was killed.
      }
      return done;
    }),
  );
}

/** Lines of the error log about failures, for a report; page dumps are left out. */
function serious(server: ScratchServer): string {
  return server.log
    .split('\n')
    .filter((line) => /\[(?:ERROR|Warning)\]|doublewrite|[Aa]ssert|Starting MariaDB/.test(line))
    .slice(-40)
    .join('\n');
}

async function rows(server: ScratchServer): Promise<number[]> {
  const counts: number[] = [];
  for (const table of TABLES) {
    const check: Row[] = await server.sql(`CHECK TABLE ${table} EXTENDED`);
    expect(
      check.map(({ Msg_text }) => Msg_text),
      `${table}: ${JSON.stringify(check)}, after ${serious(server)}`,
    ).toContain('OK');
    const [row] = await server.sql(`SELECT COUNT(*) AS n, SUM(text NOT LIKE '%-%') AS bad FROM ${table}`);
    expect(Number(row?.['bad'])).toBe(0);
    counts.push(Number(row?.['n']));
  }
  for (const { Log_name } of await server.sql('SHOW BINARY LOGS'))
    await server.sql(`SHOW BINLOG EVENTS IN '${String(Log_name)}'`);
  return counts;
}

it.each(CBC_AND_CTR)('data under %s passes between both ways of encryption, through kills', async (algorithm) => {
  const kms = await startKms();
  const options: ServerOptions = {
    ...EVERYTHING_ENCRYPTED,
    innodb_flush_log_at_trx_commit: 1,
    aws_key_management_encryption_algorithm: algorithm satisfies EncryptionAlgorithm,
  };
  const server = await startServer(kms, options);
  await createTables(server);
  let before = [0, 0, 0];
  for (const kept of ['OFF', 'ON', 'OFF', 'ON'] as const) {
    let isOver = false;
    const writing = write(server, () => isOver);
    const least = (before[0] ?? 0) + 100;
    await until(
      'rows were written',
      async () => Number((await server.sql('SELECT COUNT(*) AS n FROM d.innodb'))[0]?.['n']) > least,
    );
    await server.kill();
    isOver = true;
    const written = await writing;
    server.options = withKept(server.options, kept);
    await startAfterKill(server);
    expect(await contexts(server)).toBe(kept === 'ON' ? 'kept' : 'not kept: switched off');
    const now = await rows(server);
    // InnoDB keeps what it has confirmed.
    for (const i of [0, 1]) expect(now[i]).toBeGreaterThanOrEqual((before[i] ?? 0) + (written[i] ?? 0));
    before = now;
  }
  expect(server.log).not.toMatch(/corrupt|decryption failed|checksum mismatch/i);
});

it('a backup made with kept contexts is prepared and read without, and the other way round', async () => {
  const kms = await startKms();
  for (const [first, second] of [
    ['ON', 'OFF'],
    ['OFF', 'ON'],
  ] as const) {
    const server = await startServer(kms, withKept(EVERYTHING_ENCRYPTED, first));
    await createTables(server);
    let isOver = false;
    const writing = write(server, () => isOver);
    const target = scratchDirectory();
    await until(
      'rows were written',
      async () => Number((await server.sql('SELECT COUNT(*) AS n FROM d.innodb'))[0]?.['n']) > 50,
    );
    await backUp(server, target).finally(() => {
      isOver = true;
    });
    await writing;
    const file = join(target, 'backup-my.cnf');
    const named = readFileSync(file, 'utf8');
    expect(named).toContain(`aws_key_management_kept_contexts=${first}
`);
    writeFileSync(
      file,
      named.replace(
        `kept_contexts=${first}
`,
        `kept_contexts=${second}
`,
      ),
    );
    expect(await prepare(target)).not.toContain('encryption contexts');
    const restored = newServer(withKept(server.options, second));
    rmSync(restored.datadir, { recursive: true });
    mkdirSync(restored.datadir);
    await run('cp', ['-a', `${target}/.`, restored.datadir]);
    await restored.start();
    const [innodb = 0] = await rows(restored);
    expect(innodb).toBeGreaterThan(50);
    await server.stop();
    await restored.stop();
  }
});

/** The server ended in order: it said so once more than before, and no signal ended it. */
function expectOrderlyEnds(server: ScratchServer, ends: number): void {
  expect(server.log.match(/mariadbd: Shutdown complete/g), serious(server)).toHaveLength(ends);
  expect(server.log).not.toMatch(/corrupt|decryption failed|got signal|\[ERROR\]/i);
}

/** InnoDB keeps what it has confirmed. */
function expectNoLoss(now: readonly number[], least: readonly number[]): void {
  for (const i of [0, 1]) expect(now[i]).toBeGreaterThanOrEqual(least[i] ?? 0);
}

async function rowsOfInnodb(server: ScratchServer): Promise<number> {
  return Number((await server.sql('SELECT COUNT(*) AS n FROM d.innodb'))[0]?.['n']);
}

it.each([
  ['UNINSTALL PLUGIN aws_key_management', 'AES_CBC'],
  ["UNINSTALL SONAME 'aws_key_management'", 'AES_CTR'],
] as const)('sessions that write during %s, under %s, go on to the end of the server', async (statement, algorithm) => {
  const kms = await startKms();
  const server = await startServer(kms, {
    ...EVERYTHING_ENCRYPTED,
    aws_key_management: 'ON',
    aws_key_management_encryption_algorithm: algorithm,
  });
  await createTables(server);
  let isOver = false;
  const writing = write(server, () => isOver);
  await until('rows were written', async () => (await rowsOfInnodb(server)) > 50);
  const session = await server.connect();
  await session.query(statement);
  // The server holds the plugin, which leaves with it.
  expect(await session.query('SHOW WARNINGS')).toMatchObject([
    { Code: 1620, Message: 'Plugin is busy and will be uninstalled on shutdown' },
  ]);
  // INSTALL says yes and does nothing: a second initialisation would find encryptions of the first under way.
  await session.query("INSTALL SONAME 'aws_key_management'");
  expect(await server.variable('STATUS', 'Aws_key_management_agent_starts')).toBe('1');
  expect(
    await server.sql('SELECT plugin_status FROM information_schema.all_plugins WHERE plugin_name LIKE "aws%"'),
  ).toEqual([{ plugin_status: 'DELETED' }]);
  const then = await rowsOfInnodb(server);
  await until('more rows were written', async () => (await rowsOfInnodb(server)) > then + 50);
  await server.stop();
  isOver = true;
  const written = await writing;
  expectOrderlyEnds(server, 1);
  await server.start();
  expect(await contexts(server)).toBe('kept');
  expectNoLoss(await rows(server), written);
});

it('servers that end while sessions write lose nothing', async () => {
  const kms = await startKms();
  const server = await startServer(kms, EVERYTHING_ENCRYPTED);
  await createTables(server);
  let before = [0, 0, 0];
  for (const [round, kept] of (['ON', 'OFF', 'ON', 'ON'] as const).entries()) {
    let isOver = false;
    const writing = write(server, () => isOver);
    await until('rows were written', async () => (await rowsOfInnodb(server)) > (before[0] ?? 0) + 50);
    if (round % 2 === 0) await server.sql('SHUTDOWN');
    await server.stop();
    isOver = true;
    const written = await writing;
    expectOrderlyEnds(server, round + 1);
    server.options = withKept(server.options, kept);
    await server.start();
    const now = await rows(server);
    expectNoLoss(
      now,
      before.map((count, i) => count + (written[i] ?? 0)),
    );
    before = now;
  }
});
