/** The data that the section `audit` reads: a server's own tablespaces, large ones and many small ones. */
import { copyFileSync, mkdirSync, readdirSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pluginOptions, ScratchServer, type ServerOptions, TEST_CREDENTIALS } from '../harness/scratch-server.ts';
import { installTemplate } from './template.ts';

export interface AuditSizes {
  /** Large tables, and bytes of the file of each. */
  readonly tables: number;
  readonly tableBytes: number;
  readonly smallFiles: number;
}

/** A data directory and its tablespaces. */
export interface Tablespaces {
  readonly datadir: string;
  readonly files: readonly string[];
  readonly bytes: number;
}

/** Fast to load and to rebuild, at the price of what a crash would lose. */
const SERVER_OPTIONS: ServerOptions = {
  innodb_encrypt_tables: 'ON',
  innodb_encrypt_log: 'ON',
  // Buffered, so that the files are in the page cache: by default InnoDB reads and writes around it.
  innodb_flush_method: 'fsync',
  innodb_buffer_pool_size: '2G',
  innodb_log_file_size: '1G',
  innodb_flush_log_at_trx_commit: 0,
  innodb_doublewrite: 'OFF',
  innodb_io_capacity: 20_000,
  innodb_io_capacity_max: 40_000,
};
/** Kinds of small tables, which are copied. */
const SMALL_TABLES = 10;
const SMALL_TABLES_OF_A_DATABASE = 1000;
/** An INSERT of so many rows with so many bytes fills a table's file. */
const ROW_BYTES = 2000;
/** Bytes of the file for each byte of rows: rows have headers, and InnoDB extends files before it needs them. */
const FILE_OVERHEAD = 1.35;
/** Bytes of the disk for each byte of large tables: besides them their decrypted copies and rebuilt ones, and logs. */
const DISK_OVERHEAD = 1.6;
const SMALL_FILE_BYTES = 120_000;

/** @throws Error when the disk has too little space */
export function checkSpace(directory: string, { tables, tableBytes, smallFiles }: AuditSizes): void {
  const { bavail, bsize } = statfsSync(directory);
  const needed = tables * tableBytes * DISK_OVERHEAD + smallFiles * SMALL_FILE_BYTES;
  if (bavail * bsize < needed)
    throw new Error(`${directory} has ${gigabytes(bavail * bsize)} free, and ${gigabytes(needed)} are needed`);
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

/** A stopped server with the large tables, of which the second half of each was written under another key version. */
export async function makeTables(
  directory: string,
  kmsUrl: string,
  { tables, tableBytes }: AuditSizes,
  progress: (text: string) => void,
): Promise<ScratchServer> {
  const template = await installTemplate(directory);
  const server = new ScratchServer({
    directory: join(directory, 'server'),
    environment: TEST_CREDENTIALS,
    options: pluginOptions(kmsUrl, SERVER_OPTIONS),
  });
  server.copyDatabase(template);
  await server.start();
  try {
    await server.sql('CREATE DATABASE large');
    for (let table = 0; table < tables; table += 1)
      await server.sql(
        `CREATE TABLE large.t${table} (i INT PRIMARY KEY, t VARBINARY(${ROW_BYTES})) ENCRYPTED=YES ENCRYPTION_KEY_ID=1`,
      );
    const rows = Math.floor(tableBytes / FILE_OVERHEAD / ROW_BYTES);
    const half = Math.floor(rows / 2);
    await fill(server, tables, 1, half, progress);
    // Without this the pages that are still in memory would be written under the new version.
    const names = Array.from({ length: tables }, (_, table) => `large.t${table}`);
    await server.sql(`FLUSH TABLES ${names.join(', ')} FOR EXPORT`);
    await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
    await fill(server, tables, half + 1, rows, progress);
    await server.sql('CREATE DATABASE small');
    for (let table = 0; table < SMALL_TABLES; table += 1) {
      const kind = table % 2 === 0 ? 'ENCRYPTED=YES' : 'ENCRYPTED=NO';
      await server.sql(`CREATE TABLE small.t${table} (i INT PRIMARY KEY, t TEXT) ${kind}`);
      await server.sql(`INSERT INTO small.t${table} SELECT seq, REPEAT('x', 100) FROM small.seq_1_to_${10 + table}`);
    }
    await server.stop();
    return server;
  } catch (error) {
    await server.kill();
    throw error;
  }
}

/** Inserts rows into all tables, from two connections for the two cores of a small machine. */
async function fill(
  server: ScratchServer,
  tables: number,
  first: number,
  last: number,
  progress: (text: string) => void,
): Promise<void> {
  let table = 0;
  const work = async (): Promise<void> => {
    const connection = await server.connect();
    for (let mine = table++; mine < tables; mine = table++) {
      if (mine % 50 === 0) progress(`filling table ${mine + 1} of ${tables}`);
      // Random bytes would take longer to make than to store.
      await connection.query(
        `INSERT INTO large.t${mine} SELECT seq, REPEAT(MD5(seq), ${Math.floor(ROW_BYTES / 32)}) FROM large.seq_${first}_to_${last}`,
      );
    }
    await connection.end();
  };
  await Promise.all([work(), work()]);
}

/** All .ibd files: innochecksum takes the doublewrite area of the system tablespace for damage. */
export function tablespacesOf(datadir: string): Tablespaces {
  const names = readdirSync(datadir, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ibd'));
  const files = names.toSorted().map((name) => join(datadir, name));
  return { datadir, files, bytes: files.reduce((sum, file) => sum + statSync(file).size, 0) };
}

/** A data directory of many small tablespaces: copies of the server's. */
export function copySmallTables({ datadir }: ScratchServer, directory: string, count: number): Tablespaces {
  mkdirSync(directory);
  for (let file = 0; file < count; file += 1) {
    const folder = join(directory, `d${Math.floor(file / SMALL_TABLES_OF_A_DATABASE)}`);
    if (file % SMALL_TABLES_OF_A_DATABASE === 0) mkdirSync(folder);
    copyFileSync(join(datadir, 'small', `t${file % SMALL_TABLES}.ibd`), join(folder, `t${file}.ibd`));
  }
  return tablespacesOf(directory);
}
