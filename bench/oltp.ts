/** Servers under sysbench's OLTP loads. */
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ScratchServer } from '../harness/scratch-server.ts';
import { cpuNanoseconds } from './encryption-bench.ts';
import { onOneCore, type Runner, takeTurns } from './turns.ts';

const run = promisify(execFile);

/**
 * Milliseconds; short compared with disturbances of the machine, long compared with refilling the processor's caches.
 */
const TURN_MS = 50;

export const WORKLOADS = ['oltp_write_only', 'oltp_read_write', 'oltp_point_select'] as const;
export type Workload = (typeof WORKLOADS)[number];

export interface Load {
  readonly tables: number;
  readonly rows: number;
  readonly threads: number;
}

export interface Throughput {
  readonly transactionsPerSecond: number;
  /** CPU time of the server for each transaction. */
  readonly cpuMicroseconds: number;
  /** Pages encrypted for each transaction. */
  readonly encryptedPages: number;
  readonly decryptedPages: number;
}

/** Shares the server's core: on another one, the cost of waking each other would hide that of the work. */
function sysbenchCommand(server: ScratchServer, load: Load, ...args: readonly string[]): [string, string[]] {
  const options = {
    'db-driver': 'mysql',
    'mysql-socket': server.socket,
    'mysql-user': 'root',
    'mysql-db': 'sbtest',
    tables: load.tables,
    'table-size': load.rows,
    threads: load.threads,
    // Uniform, so that a small buffer pool does not hold the requested rows.
    'rand-type': 'uniform',
  };
  const [command = 'sysbench', ...rest] = [...onOneCore(), 'sysbench', ...args];
  return [command, [...rest, ...Object.entries(options).map(([name, value]) => `--${name}=${value}`)]];
}

const tableNames = ({ tables }: Load): string[] => Array.from({ length: tables }, (_, i) => `sbtest.sbtest${i + 1}`);

/** Creates the tables with the same random rows, in the same way in every server. */
export async function prepare(servers: readonly ScratchServer[], load: Load): Promise<void> {
  const [first] = servers;
  if (first === undefined) return;
  for (const server of servers) await server.sql('CREATE DATABASE sbtest');
  await run(...sysbenchCommand(first, load, 'oltp_read_write', 'prepare'));
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

/** Checksums of the tables, equal for servers with the same rows. */
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

interface Transactions {
  readonly count: number;
  readonly perSecond: number;
}

function transactions(said: string): Transactions {
  const [, count, perSecond] = /transactions: +(\d+) +\(([\d.]+) per sec\.\)/.exec(said) ?? [];
  if (count === undefined) throw new Error(`sysbench printed no transactions:\n${said}`);
  return { count: Number(count), perSecond: Number(perSecond) };
}

/** Keeps the server busy for so long; returns transactions a second. */
export async function runFor(server: ScratchServer, workload: Workload, load: Load, seconds: number): Promise<number> {
  const { stdout } = await run(...sysbenchCommand(server, load, workload, 'run', `--time=${seconds}`));
  return transactions(stdout).perSecond;
}

/** Has the server do so many transactions. */
export async function runTransactions(
  server: ScratchServer,
  workload: Workload,
  load: Load,
  count: number,
): Promise<void> {
  await run(...sysbenchCommand(server, load, workload, 'run', '--time=0', `--events=${count}`));
}

/** Nanoseconds of the processor, and pages. */
type Counters = Readonly<Record<'cpu' | 'encrypted' | 'decrypted', number>>;

async function counters(server: ScratchServer): Promise<Counters> {
  return {
    encrypted: Number(await server.variable('STATUS', 'Innodb_num_pages_encrypted')),
    decrypted: Number(await server.variable('STATUS', 'Innodb_num_pages_decrypted')),
    cpu: await cpuNanoseconds(server),
  };
}

/**
 * Has the server write back all pages of the tables that were changed, so that they are part of what a round costs: InnoDB
 * writes them in bursts, of which one round would have more than another. One statement, since asking again and again
 * whether it is done would cost CPU time, too.
 */
export async function writeBack(server: ScratchServer, load: Load): Promise<void> {
  // The end of the connection unlocks the tables.
  await server.sql(`FLUSH TABLES ${tableNames(load).join(', ')} FOR EXPORT`);
}

/** All other servers are stopped meanwhile: one that writes its pages back would disturb. */
export async function alone<T>(server: ScratchServer, work: () => Promise<T>): Promise<T> {
  process.kill(server.pid, 'SIGCONT');
  try {
    return await work();
  } finally {
    if (server.isRunning) process.kill(server.pid, 'SIGSTOP');
  }
}

interface Client extends Runner {
  readonly ended: Promise<string>;
  readonly kill: () => void;
}

/** Starts sysbench. It and its server are stopped. */
function startClient(server: ScratchServer, job: Job): Client {
  const { workload, load, events, seed } = job;
  const args = ['run', '--time=0', `--events=${events}`, `--rand-seed=${seed}`];
  const running = run(...sysbenchCommand(server, load, workload, ...args));
  const { child } = running;
  child.kill('SIGSTOP');
  // One that is stopped would outlive this process.
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  return {
    resume: () => {
      process.kill(server.pid, 'SIGCONT');
      child.kill('SIGCONT');
    },
    stop: () => {
      child.kill('SIGSTOP');
      if (server.isRunning) process.kill(server.pid, 'SIGSTOP');
    },
    ended: running.then(({ stdout }) => stdout).finally(() => process.off('exit', kill)),
    kill,
  };
}

export interface Job {
  readonly workload: Workload;
  readonly load: Load;
  /** Transactions of each server. */
  readonly events: number;
  /** The same seed makes the same queries. */
  readonly seed: number;
}

/** Runs the same work on each of the servers in turns. They are stopped before and after. */
export async function measureInTurns(servers: readonly ScratchServer[], job: Job): Promise<Throughput[]> {
  const before: Counters[] = [];
  for (const server of servers) before.push(await alone(server, () => counters(server)));
  const clients = servers.map((server) => startClient(server, job));
  try {
    const spentMs = await takeTurns(clients, TURN_MS);
    const measured: Throughput[] = [];
    for (const [i, server] of servers.entries()) {
      const { count } = transactions((await clients[i]?.ended) ?? '');
      const after = await alone(server, async () => {
        await writeBack(server, job.load);
        return await counters(server);
      });
      const each = (of: keyof Counters): number => (after[of] - (before[i]?.[of] ?? Number.NaN)) / count;
      measured.push({
        transactionsPerSecond: (count / (spentMs[i] ?? Number.NaN)) * 1000,
        cpuMicroseconds: each('cpu') / 1000,
        encryptedPages: each('encrypted'),
        decryptedPages: each('decrypted'),
      });
    }
    return measured;
  } finally {
    for (const { kill } of clients) kill();
  }
}
