/** One server under sysbench's OLTP load. */
import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ScratchServer } from '../scripts/lib/scratch-server.ts';

const run = promisify(execFile);

export const WORKLOADS = ['oltp_write_only', 'oltp_read_write', 'oltp_point_select'] as const;
export type Workload = (typeof WORKLOADS)[number];

export interface Load {
  readonly tables: number;
  readonly rows: number;
  readonly threads: number;
}

export interface Throughput {
  readonly transactionsPerSecond: number;
  /** Of the server, for each transaction. */
  readonly cpuMicroseconds: number;
  /** For each transaction. */
  readonly encryptedPages: number;
  readonly decryptedPages: number;
}

async function sysbench(server: ScratchServer, load: Load, ...args: readonly string[]): Promise<string> {
  const options = {
    'db-driver': 'mysql',
    'mysql-socket': server.socket,
    'mysql-user': 'root',
    'mysql-db': 'sbtest',
    tables: load.tables,
    'table-size': load.rows,
    // Every row is as likely as any other, so that a small buffer pool does not hold what is asked for.
    'rand-type': 'uniform',
  };
  const { stdout } = await run('sysbench', [
    ...args,
    ...Object.entries(options).map(([name, value]) => `--${name}=${value}`),
  ]);
  return stdout;
}

const tableNames = ({ tables }: Load): string[] => Array.from({ length: tables }, (_, i) => `sbtest.sbtest${i + 1}`);

/** Makes the tables: with the same rows, which sysbench makes up by chance once, and in the same way in every server. */
export async function prepare(servers: readonly ScratchServer[], load: Load): Promise<void> {
  const [first] = servers;
  if (first === undefined) return;
  for (const server of servers) await server.sql('CREATE DATABASE sbtest');
  await sysbench(first, load, 'oltp_read_write', 'prepare');
  for (const name of tableNames(load)) {
    const file = join(first.directory, name);
    await first.sql(`SELECT * INTO OUTFILE '${file}' FROM ${name}`);
    const [created] = await first.sql(`SHOW CREATE TABLE ${name}`);
    await first.sql(`DROP TABLE ${name}`);
    for (const server of servers) {
      await server.sql(String(created?.['Create Table']).replace('CREATE TABLE `', 'CREATE TABLE sbtest.`'));
      await server.sql(`LOAD DATA INFILE '${file}' INTO TABLE ${name}`);
    }
    rmSync(file);
  }
}

/** Equal for servers that have the same rows. */
export async function checksums(server: ScratchServer, load: Load): Promise<string> {
  const rows = await server.sql(`CHECKSUM TABLE ${tableNames(load).join(', ')} EXTENDED`);
  return rows.map((row) => String(row['Checksum'])).join(' ');
}

/** How many of the tables are encrypted. */
export async function encryptedTables(server: ScratchServer): Promise<number> {
  const [row] = await server.sql(
    "SELECT COUNT(*) AS n FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE NAME LIKE 'sbtest/%' AND ENCRYPTION_SCHEME = 1 AND CURRENT_KEY_VERSION >= 1",
  );
  return Number(row?.['n']);
}

/** User and system time of a process in microseconds. */
function cpuMicroseconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // After the name, which may hold blanks: state is field 3, utime and stime are 14 and 15, in ticks of 10 ms.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}

interface Counters {
  readonly cpu: number;
  readonly encrypted: number;
  readonly decrypted: number;
}

async function counters(server: ScratchServer): Promise<Counters> {
  const [encrypted, decrypted] = [
    Number(await server.variable('STATUS', 'Innodb_num_pages_encrypted')),
    Number(await server.variable('STATUS', 'Innodb_num_pages_decrypted')),
  ];
  return { cpu: cpuMicroseconds(server.pid), encrypted, decrypted };
}

export async function measureLoad(
  server: ScratchServer,
  workload: Workload,
  load: Load,
  seconds: number,
): Promise<Throughput> {
  const before = await counters(server);
  const said = await sysbench(server, load, workload, 'run', `--threads=${load.threads}`, `--time=${seconds}`);
  const after = await counters(server);
  const found = /transactions: +(\d+) +\(([\d.]+) per sec\.\)/.exec(said);
  if (found === null) throw new Error(`sysbench printed no transactions:\n${said}`);
  const each = (of: keyof Counters): number => (after[of] - before[of]) / Number(found[1]);
  return {
    transactionsPerSecond: Number(found[2]),
    cpuMicroseconds: each('cpu'),
    encryptedPages: each('encrypted'),
    decryptedPages: each('decrypted'),
  };
}
