/**
 * Has InnoDB write a redo log that does not end where it was written to, and sees what a start makes of it: as it is, and with
 * the one byte that ends the log.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Connection } from 'mariadb';
import { compileNative } from './native.ts';
import { endRedoLog, type RedoLog, readRedoLog, type StaleTail } from './redo-log.ts';
import { ScratchServer, type ScratchServerParts, type ServerOptions, TEST_CREDENTIALS } from './scratch-server.ts';

export interface RaceOptions {
  /** A new directory; the caller removes it. */
  readonly directory: string;
  /** A data directory to start with. */
  readonly template: string;
  readonly options: ServerOptions;
}

export interface Race {
  readonly stale: StaleTail;
  readonly acknowledged: number;
  /** What failed: undefined when the server started, its table is whole and has every acknowledged row. */
  readonly asItIs: string | undefined;
  /** The same directory once more, where the first start failed. */
  readonly again: string | undefined;
  /** The same directory, its log ended where it was written to only then. */
  readonly endedLate: string | undefined;
  /** A copy from before the first start, its log ended where it was written to. */
  readonly ended: string | undefined;
}

const LOG = 'ib_logfile0';
const SESSIONS = 24;
const LOAD_MS = 1500;
const RACE_MS = 30_000;
/** Fewer are passed over, since they may do no harm. */
const STALE_MINI_TRANSACTIONS = 8;
/** Whatever the disk: there is no room for so many in 512 bytes. */
const LARGE_BLOCKS: ServerOptions = { loose_innodb_log_write_ahead_size: 4096 };
/** Purge works on when the server is ready. */
const SETTLE_MS = 3000;

/** Who kills it kills it in the moment that leaves the log without an end, when one comes soon; it needs load for that. */
export class RacedServer extends ScratchServer {
  readonly #armed: string;

  constructor(parts: ScratchServerParts) {
    const armed = join(parts.directory, 'armed');
    const environment = {
      ...TEST_CREDENTIALS,
      LD_PRELOAD: compileNative(join(import.meta.dirname, '../../test/native/log_end_race.c'), 'library', '-O2'),
      LOG_END_RACE_ARMED: armed,
      LOG_END_RACE_STALE: String(STALE_MINI_TRANSACTIONS),
      LOG_END_RACE_NONCE: parts.options?.['innodb_encrypt_log'] === 'ON' ? '8' : '0',
    };
    super({ ...parts, environment, options: { ...parts.options, ...LARGE_BLOCKS } });
    this.#armed = armed;
  }

  override async kill(): Promise<void> {
    if (this.isRunning) writeFileSync(this.#armed, '');
    for (const endMs = performance.now() + RACE_MS; this.isRunning && performance.now() < endMs; ) await pause(10);
    await super.kill();
    rmSync(this.#armed, { force: true });
  }
}

/** @throws Error when the race did not come about, or the reader of the log and the server do not agree where it ends */
export async function raceLogEnd({ directory, template, options }: RaceOptions): Promise<Race> {
  const raced = new RacedServer({ directory: join(directory, 'raced'), options });
  raced.copyDatabase(template);
  const acknowledged = await writeUntilKilled(raced);
  const copy = (name: string): ScratchServer => {
    const server = new ScratchServer({ directory: join(directory, name), options });
    server.copyDatabase(raced.datadir);
    return server;
  };
  const [asItIs, ended] = [copy('as-it-is'), copy('ended')];
  const { end, stale } = logOf(ended);
  if (stale === undefined) throw new Error(`the race did not come about within ${RACE_MS / 1000} s`);
  endRedoLog(join(ended.datadir, LOG), stale);
  const first = await failureOf(asItIs, acknowledged);
  mustEndAt(asItIs, end);
  const again = first === undefined ? undefined : await failureOf(asItIs, acknowledged);
  const late = first === undefined ? undefined : await failureOfLate(asItIs, acknowledged);
  const last = await failureOf(ended, acknowledged);
  mustEndAt(ended, stale.from);
  return { stale, acknowledged: acknowledged.length, asItIs: first, again, endedLate: late, ended: last };
}

function logOf(server: ScratchServer): RedoLog {
  return readRedoLog(readFileSync(join(server.datadir, LOG)));
}

async function writeUntilKilled(server: ScratchServer): Promise<number[]> {
  const acknowledged: number[] = [];
  try {
    await server.start();
    await server.sql('CREATE DATABASE race');
    const columns = 'id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200), k INT, KEY (k)';
    await server.sql(`CREATE TABLE race.t (${columns}) ENGINE=InnoDB`);
    const connections = await Promise.all(Array.from({ length: SESSIONS }, () => server.connect()));
    const writers = Promise.allSettled(connections.map((connection) => write(connection, acknowledged)));
    await pause(LOAD_MS);
    await server.kill();
    await writers;
    return acknowledged;
  } finally {
    await server.kill();
  }
}

/** Until the server is gone. */
async function write(connection: Connection, acknowledged: number[]): Promise<void> {
  for (let i = 0; ; i += 1) {
    const { insertId } = await connection.query(
      `INSERT INTO race.t (v, k) VALUES (REPEAT('a', ${(i % 7) * 9 + 9}), ${i})`,
    );
    acknowledged.push(Number(insertId));
    if (i % 3 === 0) await connection.query(`UPDATE race.t SET k = k + 1 WHERE id = ${insertId}`);
  }
}

/** Of a start, and of what it finds. */
async function failureOf(server: ScratchServer, acknowledged: readonly number[]): Promise<string | undefined> {
  const logged = server.log.length;
  try {
    await server.start();
    const [check] = (await server.sql('CHECK TABLE race.t EXTENDED')).slice(-1);
    if (check?.['Msg_text'] !== 'OK') return `starts; CHECK TABLE: ${check?.['Msg_text']}`;
    const found = new Set((await server.sql('SELECT id FROM race.t')).map((row) => Number(row['id'])));
    const lost = acknowledged.filter((id) => !found.has(id));
    if (lost.length > 0) return `starts; ${lost.length} acknowledged rows are not there`;
    await pause(SETTLE_MS);
    return server.isRunning ? undefined : reasonIn(server.log.slice(logged));
  } catch (error) {
    return reasonIn(server.log.slice(logged)) ?? String(error);
  } finally {
    await server.kill();
  }
}

/** What ended a server. */
function reasonIn(log: string): string | undefined {
  const [, file, line] = /Assertion failure in file \S*\/(\S+) line (\d+)/.exec(log) ?? [];
  if (file !== undefined) return `assertion, ${file} line ${line}`;
  return /\[ERROR\] (InnoDB: .*)/.exec(log)?.[1]?.replace(/ (on )?\[page id: [^\]]*\]/, '');
}

async function failureOfLate(server: ScratchServer, acknowledged: readonly number[]): Promise<string | undefined> {
  const { stale } = logOf(server);
  if (stale === undefined) return 'the log shows nothing any more';
  endRedoLog(join(server.datadir, LOG), stale);
  return await failureOf(server, acknowledged);
}

function mustEndAt(server: ScratchServer, lsn: number): void {
  const found = /End of log at LSN=(\d+)/.exec(server.log)?.[1];
  if (found !== String(lsn))
    throw new Error(`expected the log to end at LSN ${lsn}, the server took it to end at ${found}`);
}
