/**
 * Kills a real server, its agent, or both at random moments while keys are created and rotated and rows are written,
 * and checks after each kill that nothing was lost.
 */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from 'mariadb';
import { childrenOf } from '../harness/children.ts';
import type { KillMoment, ScratchServer } from '../harness/scratch-server.ts';
import { startAfterKill } from '../harness/start-after-kill.ts';
import { encryptedPages, isEncryptedWith } from '../harness/tablespace.ts';
import type { Random } from '../src/clock.ts';
import { parseFileName, TEMPORARY_PREFIX } from '../src/format/key-file-name.ts';

export interface CampaignOptions {
  readonly server: ScratchServer;
  /**
   * Unwraps a key file's data key in KMS. Undefined: MariaDB's debug_key_management is the key plugin, as a control; it
   * has one key, of any version, and no file.
   */
  readonly unwrap: ((wrapped: Buffer) => Uint8Array) | undefined;
  readonly kills: number;
  readonly moment: KillMoment;
  readonly random: Random;
  /** Called after each kill. */
  readonly progress: (done: number, victim: Victim) => void;
}

export type Victim = 'agent' | 'server' | 'both';

export interface CampaignResult {
  readonly kills: Readonly<Record<Victim, number>>;
  /** Key files at the end, none of which ever changed. */
  readonly versions: number;
  /** Acknowledged rows that were read back, counted at each check. */
  readonly rows: number;
  /** Redo logs that InnoDB left without an end; each start went through once they had one. */
  readonly logsWithoutEnd: number;
  /** Starts that failed with such a log as it was. */
  readonly startsWithoutEnd: number;
  /** Starts that encrypted the other way than the server before: with kept contexts, or without. */
  readonly startsWithOther: number;
  /** Encrypted pages that were decrypted with the key version that they name. */
  readonly pages: number;
}

const FIRST_KEY = 2;
/** The plugin encrypts with OpenSSL's contexts that it keeps, or by the server's functions: each start takes one of the two. */
const KEPT_CONTEXTS = 'aws_key_management_kept_contexts';
const WRITERS = 3;
/** Milliseconds for operations that must succeed after a kill, on a busy machine. */
const PATIENCE_MS = 60_000;
/** Older ones are dropped; their keys stay. */
const MOST_TABLES = 12;
/** The share of rotations that rotate every key. */
const ROTATE_ALL = 0.02;

/** @throws Error that names the loss */
export async function runCampaign(options: CampaignOptions): Promise<CampaignResult> {
  const { server, unwrap, kills, random, progress } = options;
  const campaign = new Campaign(options);
  const killed: Record<Victim, number> = { agent: 0, server: 0, both: 0 };
  await server.sql('CREATE DATABASE crash');
  for (let done = 1; done <= kills; done += 1) {
    const victim = unwrap === undefined ? 'server' : pick(['agent', 'server', 'both'] as const, random);
    await campaign.round(victim);
    killed[victim] += 1;
    progress(done, victim);
  }
  return { kills: killed, ...(await campaign.finish()) };
}

class Campaign {
  readonly #server: ScratchServer;
  readonly #moment: KillMoment;
  readonly #unwrap: CampaignOptions['unwrap'];
  readonly #dataKeys = new Map<string, Uint8Array>();
  readonly #random: Random;
  /** Acknowledged rows of each acknowledged table, which is named by its key id. */
  readonly #rows = new Map<number, number[]>();
  /** The checksum of each key file, since it was first seen. */
  readonly #checksums = new Map<string, string>();
  /** The latest version that the server has reported for each key. */
  readonly #announced = new Map<number, number>();
  #nextKey = FIRST_KEY;
  #nextRow = 1;
  #controlVersion = 1;
  #readBack = 0;
  #pages = 0;
  #logsWithoutEnd = 0;
  #startsWithoutEnd = 0;
  #startsWithOther = 0;

  constructor({ server, moment, unwrap, random }: CampaignOptions) {
    this.#server = server;
    this.#moment = moment;
    this.#unwrap = unwrap;
    this.#random = random;
  }

  async round(victim: Victim): Promise<void> {
    const stop = new AbortController();
    const work = [this.#create(stop.signal), this.#rotate(stop.signal)];
    for (let writer = 0; writer < WRITERS; writer += 1) work.push(this.#write(stop.signal));
    await sleep(20 + this.#random() * 400);
    if (victim !== 'server') await this.#killAgents();
    if (victim === 'agent') await sleep(100);
    else await this.#server.kill(this.#moment);
    stop.abort();
    await Promise.all(work);
    this.#checkFiles();
    if (victim !== 'agent') {
      this.#checkPages();
      await this.#start();
    }
    if (!this.#server.isRunning) throw new Error(`the server ended:\n${this.#server.log.slice(-4000)}`);
    await this.#checkAnswers();
    await this.#checkService();
  }

  async finish(): Promise<Omit<CampaignResult, 'kills'>> {
    await this.#server.stop();
    await this.#start();
    await this.#checkAnswers();
    await this.#server.stop();
    this.#checkFiles();
    this.#checkPages();
    return {
      versions: this.#checksums.size,
      rows: this.#readBack,
      pages: this.#pages,
      logsWithoutEnd: this.#logsWithoutEnd,
      startsWithoutEnd: this.#startsWithoutEnd,
      startsWithOther: this.#startsWithOther,
    };
  }

  /** @throws Error when no agent was running */
  async #killAgents(): Promise<void> {
    const endMs = performance.now() + PATIENCE_MS;
    for (let killed = 0; killed === 0; ) {
      if (performance.now() > endMs) throw new Error('the server started no agent');
      for (const pid of childrenOf(this.#server.pid)) {
        try {
          process.kill(pid, 'SIGKILL');
          killed += 1;
        } catch {
          // The agent has just ended by itself.
        }
      }
      if (killed === 0) await sleep(1);
    }
  }

  async #create(stop: AbortSignal): Promise<void> {
    await this.#session(stop, async (connection) => {
      const id = this.#nextKey;
      this.#nextKey += 1;
      await connection.query(this.#createTable(id));
      this.#rows.set(id, []);
      const [oldest] = this.#rows.keys();
      if (this.#rows.size > MOST_TABLES && oldest !== undefined) {
        this.#rows.delete(oldest);
        await connection.query(`DROP TABLE crash.t${oldest}`);
      }
      await sleep(this.#random() * 150);
    });
  }

  async #rotate(stop: AbortSignal): Promise<void> {
    await this.#session(stop, async (connection) => {
      const id = this.#random() < ROTATE_ALL ? -1 : pick([1, ...this.#rows.keys()], this.#random);
      await connection.query(this.#rotation(id));
      await this.#note(connection);
      await sleep(this.#random() * 100);
    });
  }

  async #write(stop: AbortSignal): Promise<void> {
    await this.#session(stop, async (connection) => {
      const ids = [...this.#rows.keys()];
      if (ids.length === 0) return await sleep(10);
      const id = pick(ids, this.#random);
      const row = this.#nextRow;
      this.#nextRow += 1;
      await connection.query(`INSERT INTO crash.t${id} VALUES (${row}, SHA2(${row}, 256))`);
      this.#rows.get(id)?.push(row);
    });
  }

  #createTable(id: number): string {
    const columns = 'i INT PRIMARY KEY, v VARBINARY(64)';
    return `CREATE TABLE crash.t${id} (${columns}) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${this.#unwrap === undefined ? 1 : id}`;
  }

  #rotation(id: number): string {
    if (this.#unwrap !== undefined) return `SET GLOBAL aws_key_management_rotate_key=${id}`;
    this.#controlVersion += 1;
    return `SET GLOBAL debug_key_management_version=${this.#controlVersion}`;
  }

  async #start(): Promise<void> {
    const { options } = this.#server;
    this.#server.options =
      this.#unwrap === undefined
        ? { ...options, debug_key_management_version: this.#controlVersion }
        : { ...options, [KEPT_CONTEXTS]: pick(['ON', 'OFF'] as const, this.#random) };
    this.#startsWithOther += Number(this.#server.options[KEPT_CONTEXTS] !== (options[KEPT_CONTEXTS] ?? 'ON'));
    await startAfterKill(this.#server, () => this.#startWithoutEnd());
  }

  /**
   * Starts the server on a redo log in which InnoDB takes old log for new, and restores the directory from before that.
   * The next start, with an end of the log, has to pass every check.
   * @throws Error when the plugin caused the failure
   */
  async #startWithoutEnd(): Promise<void> {
    const { datadir } = this.#server;
    const copy = `${datadir}-before`;
    // The killed server's agent may still be running: its temporary files may disappear while they are copied.
    cpSync(datadir, copy, { recursive: true, filter: (path) => !basename(path).startsWith(TEMPORARY_PREFIX) });
    this.#logsWithoutEnd += 1;
    await this.#server.start().catch((thrown: Error) => {
      if (thrown.message.includes('[ERROR] mariadbd: AWS KMS plugin')) throw thrown;
      this.#startsWithoutEnd += 1;
    });
    await this.#server.kill();
    rmSync(datadir, { recursive: true, maxRetries: 5 });
    renameSync(copy, datadir);
  }

  /** Repeats the action until it is aborted; statements fail while the agent or the server is down. */
  async #session(stop: AbortSignal, action: (connection: Connection) => Promise<void>): Promise<void> {
    const connection = await this.#server.connect().catch(() => undefined);
    while (connection?.isValid() && !stop.aborted) await action(connection).catch(() => sleep(5));
  }

  async #note(connection: Connection): Promise<void> {
    const rows: unknown = await connection.query(
      "SHOW GLOBAL STATUS LIKE 'Aws\\_key\\_management\\_key\\_%\\_latest\\_version'",
    );
    if (!Array.isArray(rows)) return;
    for (const row of rows) {
      const id = Number(/_key_(\d+)_latest/.exec(String(row['Variable_name']))?.[1]);
      const [before, now] = [this.#announced.get(id) ?? 0, Number(row['Value'])];
      if (now < before) throw new Error(`key ${id} was at version ${before} and is at ${now}`);
      this.#announced.set(id, now);
    }
  }

  /** No key file changes or goes, and every version that was announced has one. */
  #checkFiles(): void {
    for (const file of readdirSync(this.#server.datadir)) {
      if (parseFileName(file).kind !== 'wrapped-key') continue;
      const sum = createHash('sha256')
        .update(readFileSync(join(this.#server.datadir, file)))
        .digest('hex');
      const before = this.#checksums.get(file);
      if (before !== undefined && before !== sum) throw new Error(`${file} has other bytes than before`);
      this.#checksums.set(file, sum);
    }
    for (const file of this.#checksums.keys()) this.#mustExist(file, 'it was there before');
    for (const [id, version] of this.#announced) this.#mustExist(`aws-kms-key.${id}.${version}`, 'it was announced');
  }

  /** Every page of the tables and the system tablespace is encrypted with the key version that it names. */
  #checkPages(): void {
    if (this.#unwrap === undefined) return;
    for (const id of this.#rows.keys()) this.#checkTablespace(id, join('crash', `t${id}.ibd`));
    this.#checkTablespace(1, 'ibdata1');
    for (const file of readdirSync(join(this.#server.datadir, 'mysql')))
      if (file.endsWith('.ibd')) this.#checkTablespace(1, join('mysql', file));
  }

  #checkTablespace(id: number, path: string): void {
    const tablespace = readFileSync(join(this.#server.datadir, path));
    for (const { number, keyVersion } of encryptedPages(tablespace)) {
      if (path === 'ibdata1' && isOfDoublewrite(number)) continue;
      const file = `aws-kms-key.${id}.${keyVersion}`;
      this.#mustExist(file, `page ${number} of ${path} names it`);
      if (!isEncryptedWith(this.#dataKey(file), tablespace, number))
        throw new Error(`page ${number} of ${path} is not encrypted with ${file}, which it names`);
      this.#pages += 1;
    }
  }

  #dataKey(file: string): Uint8Array {
    const key = this.#dataKeys.get(file) ?? this.#unwrap?.(readFileSync(join(this.#server.datadir, file)));
    if (key === undefined) throw new Error('nobody unwraps keys');
    this.#dataKeys.set(file, key);
    return key;
  }

  /**
   * A key can be created and another rotated soon after a start: a failure is remembered for a second, and an agent
   * needs time to start.
   */
  async #checkService(): Promise<void> {
    const connection = await this.#server.connect();
    const endMs = performance.now() + PATIENCE_MS;
    const id = this.#nextKey;
    this.#nextKey += 1;
    for (const statement of [this.#rotation(1), this.#createTable(id), `DROP TABLE crash.t${id}`]) {
      for (;;) {
        try {
          await connection.query(statement);
          break;
        } catch (error) {
          if (performance.now() > endMs) throw error;
          await sleep(100);
        }
      }
    }
    await connection.end();
  }

  #mustExist(file: string, why: string): void {
    if (!existsSync(join(this.#server.datadir, file))) throw new Error(`${file} is not there: ${why}`);
  }

  /** Every acknowledged row of every acknowledged table is read back. */
  async #checkAnswers(): Promise<void> {
    const connection = await this.#server.connect();
    for (const [id, acknowledged] of this.#rows) {
      const found = new Set(
        numbersOf(await connection.query(`SELECT i AS n FROM crash.t${id} WHERE v = SHA2(i, 256)`)),
      );
      const lost = acknowledged.filter((row) => !found.has(row));
      if (lost.length > 0) throw new Error(`t${id}: acknowledged rows are not there: ${lost.slice(0, 10).join(', ')}`);
      this.#readBack += acknowledged.length;
    }
    await this.#note(connection);
    await connection.end();
  }
}

/**
 * Tells whether the page is in the doublewrite buffer of a new system tablespace, which holds copies of other pages.
 */
function isOfDoublewrite(page: number): boolean {
  return page >= 64 && page < 192;
}

function numbersOf(rows: unknown): number[] {
  return Array.isArray(rows) ? rows.map((row: { readonly n: unknown }) => Number(row.n)) : [];
}

function pick<T>(items: readonly T[], random: Random): T {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new Error('nothing to choose from');
  return item;
}
