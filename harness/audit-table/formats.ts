/** Every format in which a server keeps data, under key ids that tell the formats apart. */
import type { ScratchServer, ServerOptions } from '../scratch-server.ts';

/** Properties that a data directory has as a whole. */
export interface Build {
  readonly pageKiB: 4 | 8 | 16 | 32 | 64;
  readonly checksum: 'full_crc32' | 'crc32';
  readonly cipher: 'AES_CBC' | 'AES_CTR';
}

export interface Table {
  readonly name: string;
  readonly format: string;
  /** Undefined: a server of this build refuses the format. */
  readonly create: (build: Build, elsewhere: string) => string | undefined;
  /** False: IMPORT TABLESPACE does not take the format. */
  readonly isImported: boolean;
  /** True: made with innodb_file_per_table=0. */
  readonly isInSystem?: true;
  /** True: rows survive a kill of the server. */
  readonly isRecovered: boolean;
  /** True: it has no LONGBLOB. */
  readonly isShort?: true;
}

/** The length suits indexes of ROW_FORMAT=REDUNDANT, which hold 767 bytes, in utf8mb4, the default of MariaDB 11.8. */
const COLUMNS = 'i INT PRIMARY KEY, s VARCHAR(180), b LONGBLOB, KEY (s)';
const ROWS =
  "SELECT seq AS i, CONCAT('word', seq, REPEAT(' x', 40)) AS s, REPEAT(MD5(seq), 60) AS b FROM d.seq_1_to_200";
const encrypted = (id: number): string => `ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`;
const innodb =
  (name: string, id: number, options = ''): Table['create'] =>
  (_, elsewhere) =>
    `CREATE TABLE d.${name} (${COLUMNS}) ${encrypted(id)} ${options.replace('ELSEWHERE', elsewhere)} ${ROWS}`;
const aria =
  (name: string, options: string, columns = COLUMNS, rows = ROWS): Table['create'] =>
  () =>
    `CREATE TABLE d.${name} (${columns}) ENGINE=Aria ${options} ${rows}`;
const SHORT_ROWS = "SELECT seq AS i, CONCAT('word', seq) AS s FROM d.seq_1_to_500";

/** The order is that of the printed table. */
export const TABLES: readonly Table[] = [
  { name: 'plain', format: 'InnoDB', create: innodb('plain', 11), isImported: true, isRecovered: true },
  {
    name: 'zip',
    format: 'InnoDB ROW_FORMAT=COMPRESSED',
    create: (build, elsewhere) =>
      build.pageKiB > 16
        ? undefined
        : innodb('zip', 12, `ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=${build.pageKiB / 2}`)(build, elsewhere),
    isImported: true,
    isRecovered: true,
  },
  {
    name: 'paged',
    format: 'InnoDB PAGE_COMPRESSED',
    create: innodb('paged', 13, 'PAGE_COMPRESSED=1'),
    isImported: true,
    isRecovered: true,
  },
  {
    name: 'part',
    format: 'InnoDB, partitions',
    create: innodb('part', 14, 'PARTITION BY HASH (i) PARTITIONS 2'),
    isImported: false,
    isRecovered: true,
  },
  {
    name: 'fts',
    format: 'InnoDB, FULLTEXT',
    create: () => `CREATE TABLE d.fts (${COLUMNS}, FULLTEXT KEY w (s)) ${encrypted(15)} ${ROWS}`,
    isImported: false,
    isRecovered: true,
  },
  {
    name: 'geo',
    format: 'InnoDB, SPATIAL',
    create: ({ checksum }) =>
      `CREATE TABLE d.geo (i INT PRIMARY KEY, s VARCHAR(180), b LONGBLOB, g POINT NOT NULL, SPATIAL INDEX (g)) ENGINE=InnoDB ${
        // ENCRYPTED=YES is refused where the pages of the index stay in clear.
        checksum === 'full_crc32' ? 'ENCRYPTED=YES ' : ''
      }ENCRYPTION_KEY_ID=16 SELECT seq AS i, CONCAT('word', seq) AS s, REPEAT(MD5(seq), 60) AS b, POINT(seq, seq) AS g FROM d.seq_1_to_200`,
    isImported: true,
    isRecovered: true,
  },
  {
    name: 'remote',
    format: 'InnoDB, DATA DIRECTORY',
    create: innodb('remote', 17, "DATA DIRECTORY='ELSEWHERE'"),
    isImported: true,
    isRecovered: true,
  },
  {
    name: 'redundant',
    format: 'InnoDB ROW_FORMAT=REDUNDANT',
    create: innodb('redundant', 18, 'ROW_FORMAT=REDUNDANT'),
    isImported: true,
    isRecovered: true,
  },
  {
    name: 'by_default',
    format: 'InnoDB, innodb_encrypt_tables',
    create: () => `CREATE TABLE d.by_default (${COLUMNS}) ENGINE=InnoDB ${ROWS}`,
    isImported: true,
    isRecovered: true,
  },
  {
    name: 'in_clear',
    format: 'InnoDB ENCRYPTED=NO',
    create: () => `CREATE TABLE d.in_clear (${COLUMNS}) ENGINE=InnoDB ENCRYPTED=NO ${ROWS}`,
    isImported: true,
    isRecovered: true,
  },
  {
    name: 'in_system',
    format: 'InnoDB in ibdata1',
    create: () => `CREATE TABLE d.in_system (${COLUMNS}) ENGINE=InnoDB ${ROWS}`,
    isInSystem: true,
    isImported: false,
    isRecovered: true,
  },
  { name: 'aria', format: 'Aria PAGE', create: aria('aria', ''), isImported: false, isRecovered: true },
  {
    name: 'aria_simple',
    format: 'Aria PAGE, TRANSACTIONAL=0',
    create: aria('aria_simple', 'TRANSACTIONAL=0'),
    isImported: false,
    isRecovered: false,
  },
  {
    name: 'aria_fixed',
    format: 'Aria FIXED',
    create: aria(
      'aria_fixed',
      'ROW_FORMAT=FIXED TRANSACTIONAL=0',
      'i INT PRIMARY KEY, s CHAR(100), KEY (s)',
      SHORT_ROWS,
    ),
    isShort: true,
    isImported: false,
    isRecovered: false,
  },
  {
    name: 'aria_dynamic',
    format: 'Aria DYNAMIC',
    create: aria(
      'aria_dynamic',
      'ROW_FORMAT=DYNAMIC TRANSACTIONAL=0',
      'i INT PRIMARY KEY, s VARCHAR(100), KEY (s)',
      SHORT_ROWS,
    ),
    isShort: true,
    isImported: false,
    isRecovered: false,
  },
];

/** Options that a data directory depends on, with any server and when it is initialised. */
export function layoutOf({ pageKiB, checksum }: Build): ServerOptions {
  return {
    innodb_page_size: `${pageKiB}k`,
    innodb_checksum_algorithm: checksum,
    innodb_buffer_pool_size: pageKiB > 16 ? '32M' : '16M',
    innodb_undo_tablespaces: 2,
    // The doublewrite area of pages of 64 KiB needs 12 MiB. With older checksums mariadb-backup takes the first page of
    // each file for one in clear, and fails when that of a second file is encrypted.
    innodb_data_file_path: checksum === 'full_crc32' ? 'ibdata1:12M;ibdata2:8M:autoextend' : 'ibdata1:12M:autoextend',
  };
}

/** Options of the server that makes the data. */
export function buildOptions(build: Build): ServerOptions {
  return {
    ...layoutOf(build),
    aws_key_management_encryption_algorithm: build.cipher,
    server_id: 1,
    relay_log: 'relay',
    skip_slave_start: 'ON',
  };
}

export function tablesOf(build: Build): readonly Table[] {
  return TABLES.filter(({ create }) => create(build, '') !== undefined);
}

export async function createTables(server: ScratchServer, build: Build, elsewhere: string): Promise<void> {
  await server.sql('CREATE DATABASE d');
  for (const { create, isInSystem } of TABLES) {
    const statement = create(build, elsewhere);
    if (statement === undefined) continue;
    await server.sql(`SET GLOBAL innodb_file_per_table=${isInSystem ? 0 : 1}`);
    await server.sql(statement);
  }
}

/** Rows that change pages of every table. */
export async function insertRows(server: ScratchServer, tables: readonly Table[], from: number): Promise<void> {
  for (const { name, isShort } of tables) {
    const more = isShort ? '' : `, REPEAT('n', 3000)${name === 'geo' ? ', POINT(seq, seq)' : ''}`;
    await server.sql(`INSERT INTO d.${name} SELECT seq + ${from}, CONCAT('more', seq)${more} FROM d.seq_1_to_30`);
  }
}
