/**
 * Writes test/vectors/data-files/recorded.txt: parts of the files of a real server that describe their encryption; and
 * specified.txt: headers that this server does not write. The keys of the former are data keys of an embedded KMS that
 * ends with this command: they protect nothing.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { systemClock } from '../src/cli/system.ts';
import { startDevKms } from '../src/dev-kms/index.ts';
import { type Recording, specifiedRedoLogs, vectorText } from './data-file-vector.ts';
import {
  installDatabase,
  installedServer,
  pluginOptions,
  ScratchServer,
  type ServerOptions,
} from './scratch-server.ts';

const VECTORS = join(import.meta.dirname, '../test/vectors/data-files');
const directory = mkdtempSync(join(tmpdir(), 'mak-record-'));
const kms = await startDevKms({ clock: systemClock, aliases: ['alias/mariadb-encryption'] });
const from = `MariaDB ${/\d+\.\d+\.\d+/.exec(installedServer())?.[0] ?? 'unknown'}`;
const vectors: string[] = [];

function add(recording: Recording): void {
  vectors.push(vectorText(from, recording));
}

/** Page 0 up to the states of its first pages, and the crypt block. */
function header(block: number): Recording['keep'] {
  return [
    [0, 178],
    [block, 33],
  ];
}

function table(server: ScratchServer, vector: string, file: string, block: number, uses: string): void {
  add({ vector, kind: 'tablespace', name: file, file: join(server.datadir, file), keep: header(block), uses });
}

/** Whole pages of 4 KiB. */
function pages(server: ScratchServer, vector: string, file: string, count: number, uses: string): void {
  const keep: Recording['keep'] = [[0, count * 4096]];
  add({ vector, kind: 'tablespace', name: file, file: join(server.datadir, file), keep, uses });
}

function aria(server: ScratchServer, vector: string, name: string, uses: string, block = 8192): void {
  const file = (ending: string): string => join(server.datadir, `${name}.${ending}`);
  add({
    vector,
    kind: 'aria',
    name: `${name}.MAI`,
    file: file('MAI'),
    keep: [[0, 1024]],
    data: { file: file('MAD'), keep: Array.from({ length: 8 }, (_, page) => [page * block, 20] as const) },
    uses,
  });
}

function log(server: ScratchServer, vector: string, name: string, uses: string): void {
  add({ vector, kind: 'binlog', name, file: join(server.datadir, name), keep: [[0, 512]], uses });
}

function redo(server: ScratchServer, vector: string, uses: string): void {
  add({ vector, kind: 'redo', name: 'ib_logfile0', file: join(server.datadir, 'ib_logfile0'), keep: [[0, 512]], uses });
}

async function withServer(name: string, options: ServerOptions, work: (server: ScratchServer) => Promise<void>) {
  const server = new ScratchServer({
    directory: join(directory, name),
    options: pluginOptions(kms.url, { server_id: 1, log_bin: 'binlog', relay_log: 'relay', ...options }),
  });
  const template = join(directory, `template-${name}`);
  mkdirSync(template);
  const { innodb_page_size, innodb_undo_tablespaces, innodb_buffer_pool_size = '16M', aria_block_size } = options;
  const atCreation = { innodb_page_size, innodb_undo_tablespaces, innodb_buffer_pool_size, aria_block_size };
  await installDatabase(join(template, 'data'), atCreation);
  server.copyDatabase(join(template, 'data'));
  await server.start();
  try {
    await work(server);
  } finally {
    await server.kill();
  }
}

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 120_000;
  while (!(await holds())) {
    if (performance.now() > endMs) throw new Error(`not before the deadline: ${what}`);
    await pause(50);
  }
}

/** Records the first relay log, with a source that does not exist. */
async function relayLog(server: ScratchServer): Promise<void> {
  await server.sql("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1, MASTER_USER='nobody'");
  await server.sql('START SLAVE');
  await server.sql('STOP SLAVE');
  await server.sql('FLUSH RELAY LOGS');
  await until('a relay log', () => existsSync(join(server.datadir, 'relay.000001')));
}

const TABLE = 'i INT PRIMARY KEY, s VARCHAR(200)';
const ROWS = "SELECT seq AS i, REPEAT('x', 100) AS s FROM d.seq_1_to_100";
const ARIA_ROWS = "SELECT seq AS i, REPEAT('x', 100) AS s FROM d.seq_1_to_300";

try {
  await withServer('clear', { innodb_undo_tablespaces: 2 }, async (server) => {
    await server.sql('CREATE DATABASE d');
    await server.sql(`CREATE TABLE d.off (${TABLE}) ENGINE=InnoDB ENCRYPTED=NO`);
    await server.sql(`CREATE TABLE d.a (${TABLE}) ENGINE=Aria ${ARIA_ROWS}`);
    await relayLog(server);
    await server.stop();
    redo(server, 'redo-clear', 'none');
    table(server, 'system-clear', 'ibdata1', 10_428, 'none');
    table(server, 'undo-clear', 'undo001', 10_428, 'none');
    table(server, 'table-encrypted-no', 'd/off.ibd', 10_428, 'none');
    table(server, 'table-of-the-server-clear', 'mysql/innodb_table_stats.ibd', 10_428, 'none');
    aria(server, 'aria-clear', 'd/a', 'none');
    log(server, 'binlog-clear', 'binlog.000001', 'none');
    log(server, 'relay-clear', 'relay.000001', 'none');
  });
  const encrypted = {
    innodb_encrypt_tables: 'ON',
    innodb_encrypt_log: 'ON',
    innodb_encryption_threads: 2,
    aria_encrypt_tables: 'ON',
    encrypt_binlog: 'ON',
  };
  await withServer('encrypted', { ...encrypted, innodb_undo_tablespaces: 2 }, async (server) => {
    await server.sql('CREATE DATABASE d');
    await server.sql(`CREATE TABLE d.t (${TABLE}) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=5`);
    await server.sql(
      `CREATE TABLE d.zip (${TABLE}) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=6 ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8`,
    );
    await server.sql(
      `CREATE TABLE d.paged (${TABLE}) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=7 PAGE_COMPRESSED=1`,
    );
    await server.sql(
      `CREATE TABLE d.p (${TABLE}) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=4294967295 PARTITION BY HASH (i) PARTITIONS 2`,
    );
    await server.sql(`CREATE TABLE d.a (${TABLE}) ENGINE=Aria ${ARIA_ROWS}`);
    await server.sql(`CREATE TABLE d.n (${TABLE}) ENGINE=Aria TRANSACTIONAL=0 ${ARIA_ROWS}`);
    await server.sql(`CREATE TABLE d.empty (${TABLE}) ENGINE=Aria`);
    await relayLog(server);
    await until('all tablespaces are encrypted', async () => {
      const [row] = await server.sql(
        'SELECT COUNT(*) AS n FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE ENCRYPTION_SCHEME=0 OR MIN_KEY_VERSION=0 OR ROTATING_OR_FLUSHING',
      );
      return row?.['n'] === 0;
    });
    await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
    await server.sql('FLUSH BINARY LOGS');
    await server.sql(`CREATE TABLE d.a2 (${TABLE}) ENGINE=Aria ${ARIA_ROWS}`);
    await server.sql("INSERT INTO d.a SELECT seq + 1000, REPEAT('y', 100) FROM d.seq_1_to_300");
    await server.stop();
    const relays = readdirSync(server.datadir).filter((file) => /^relay\.\d+$/.test(file));
    redo(server, 'redo-encrypted', '1 1');
    table(server, 'system-encrypted', 'ibdata1', 10_428, '1');
    table(server, 'undo-encrypted', 'undo001', 10_428, '1');
    table(server, 'table-key-5', 'd/t.ibd', 10_428, '5');
    table(server, 'table-compressed', 'd/zip.ibd', 5308, '6');
    table(server, 'table-page-compressed', 'd/paged.ibd', 10_428, '7');
    table(server, 'table-partition', 'd/p#P#p0.ibd', 10_428, '4294967295');
    aria(server, 'aria-encrypted', 'd/a', '1 1 2');
    aria(server, 'aria-encrypted-non-transactional', 'd/n', '1 1');
    aria(server, 'aria-encrypted-empty', 'd/empty', '1');
    aria(server, 'aria-encrypted-version-2', 'd/a2', '1 2');
    log(server, 'binlog-encrypted', 'binlog.000001', '1 1');
    log(server, 'binlog-encrypted-version-2', 'binlog.000002', '1 2');
    log(server, 'relay-encrypted', relays[0] ?? 'relay.000001', '1 1');
  });
  await withServer('small-pages', { innodb_page_size: '4k', innodb_encrypt_log: 'ON' }, async (server) => {
    await server.sql('CREATE DATABASE d');
    await server.sql(
      `CREATE TABLE d.t (${TABLE}) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=9 SELECT seq AS i, 'x' AS s FROM d.seq_1_to_20`,
    );
    // Pages that are not written yet are written with the new version.
    await server.restart();
    await server.sql('SET GLOBAL aws_key_management_rotate_key=9');
    await server.sql(`CREATE TABLE d.newer (${TABLE}) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=9`);
    await server.sql(`INSERT INTO d.newer ${ROWS}`);
    await server.stop();
    pages(server, 'pages-version-1', 'd/t.ibd', 4, '9 1');
    pages(server, 'pages-version-2', 'd/newer.ibd', 5, '9 2');
    redo(server, 'redo-encrypted-no-binlog', '1 1');
  });
  await withServer('large-pages', { innodb_page_size: '64k', innodb_buffer_pool_size: '32M' }, async (server) => {
    await server.sql('CREATE DATABASE d');
    await server.sql(`CREATE TABLE d.t (${TABLE}) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=9`);
    await server.stop();
    table(server, 'table-pages-of-64k', 'd/t.ibd', 41_148, '9');
  });
  await withServer('large-blocks', { aria_block_size: 16_384, aria_encrypt_tables: 'ON' }, async (server) => {
    await server.sql('CREATE DATABASE d');
    await server.sql(`CREATE TABLE d.a (${TABLE}, b LONGBLOB) ENGINE=Aria`);
    await server.sql("INSERT INTO d.a VALUES (1, 'x', REPEAT('z', 20000))");
    await server.stop();
    aria(server, 'aria-blocks-of-16k', 'd/a', '1 1', 16_384);
  });
  writeFileSync(join(VECTORS, 'recorded.txt'), vectors.join('\n'));
  writeFileSync(join(VECTORS, 'specified.txt'), specifiedRedoLogs().join('\n'));
} finally {
  await kms.close();
  rmSync(directory, { recursive: true, force: true });
}
