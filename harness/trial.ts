/** Exposes a server to a fault at every moment that may be affected, and records its behaviour and messages. */
import { createHash } from 'node:crypto';
import { constants, existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Connection } from 'mariadb';
import { forEachBounded } from '../src/bounded.ts';
import type { Row, ScratchServer } from './scratch-server.ts';

/**
 * Seconds for a start under the fault. Many servers start their agents at the same time here, which takes a part of it.
 */
export const START_TIMEOUT_S = 20;
/**
 * Milliseconds; a failed key is not requested again for a second, so that a broken page does not cause a storm of
 * calls.
 */
const NOT_ASKED_AGAIN_MS = 1100;

/** Key ids: loaded and used by a table; loaded; new. */
const [USED, OTHER, NEW] = [1, 3, 50];

const STATEMENTS = {
  create: `CREATE TABLE d.fresh (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${NEW}`,
  rotate: `SET GLOBAL aws_key_management_rotate_key=${OTHER}`,
  rotateAll: 'SET GLOBAL aws_key_management_rotate_key=-1',
} as const;
export type Statement = keyof typeof STATEMENTS;
/** An action on the running server: a statement, or the command. */
export type Action = Statement | 'rewrap';
export type Moment = 'start' | Action;

/**
 * Log lines about each statement's key. A rotation of all keys reports each key; this one is rotated by nothing else.
 */
const SUBJECTS: Readonly<Record<Action, RegExp>> = {
  create: new RegExp(`key ${NEW} `),
  rotate: new RegExp(`key ${OTHER} `),
  rotateAll: new RegExp(`key ${USED} |of all keys`),
  // The server logs nothing about a rewrap.
  rewrap: /(?!)/,
};

/** The outcome of one fault at one moment. Texts are empty when nothing went wrong. */
export interface Cell {
  readonly moment: Moment;
  /** The reason why the server did not start; or the statement's error. */
  readonly error: string;
  readonly seconds: number;
  /** Errors and warnings of the plugin in the error log; for one statement among several, those about its key. */
  readonly log: readonly string[];
  /** Key files that were added, removed or changed, and latest versions that changed. */
  readonly changed: readonly string[];
  /** The error of reading and writing a table of a loaded key during the fault; empty for a failed start. */
  readonly loadedKeysError: string;
  /** The error of the same after the fault. */
  readonly againError: string;
}

/** Ends the fault. */
export type End = () => void | Promise<void>;

export interface TrialParts {
  /** A stopped server with its data. */
  readonly server: ScratchServer;
  readonly keyDirectory: string;
  readonly begin: (moment: Moment) => End | Promise<End>;
  readonly startTimeoutS?: number | undefined;
  /** Runs `mariadb-aws-kms rewrap`; rejects with its message. */
  readonly rewrap?: () => Promise<unknown>;
}

export class Trial {
  readonly #parts: TrialParts;
  readonly #server: ScratchServer;

  constructor(parts: TrialParts) {
    this.#parts = parts;
    this.#server = parts.server;
  }

  async start(): Promise<Cell> {
    const server = this.#server;
    const { options } = server;
    server.options = { ...options, aws_key_management_start_timeout: this.#parts.startTimeoutS ?? START_TIMEOUT_S };
    const before = this.#keyFiles();
    const from = server.log.length;
    const end = await this.#parts.begin('start');
    const begun = this.#keyFiles();
    const started = performance.now();
    const failed = await errorOf(server.start());
    const seconds = (performance.now() - started) / 1000;
    const loadedKeysError = failed === '' ? await errorOf(useServer(server)) : '';
    const meanwhile = difference(begun, this.#keyFiles());
    await server.kill();
    await end();
    server.options = options;
    const changed = [...meanwhile, ...difference(before, this.#keyFiles())];
    const log = pluginLines(server.log.slice(from));
    const againError = await errorOf(startAndUse(server));
    return { moment: 'start', error: failed, seconds, log, changed, loadedKeysError, againError };
  }

  /** Runs the statements of each group under the fault at the same time, to save time. */
  async actions(groups: readonly (readonly [Action, ...Action[]])[]): Promise<Cell[]> {
    const ended: ActionCell[] = [];
    for (const group of groups) ended.push(...(await this.#group(group)));
    await pause(NOT_ASKED_AGAIN_MS);
    const cells: Cell[] = [];
    for (const cell of ended) {
      if (cell.error === '' && cell.moment === 'create') await this.#server.sql('DROP TABLE d.fresh');
      cells.push({ ...cell, againError: await errorOf(this.#do(cell.moment, (text) => this.#server.sql(text))) });
    }
    return cells;
  }

  /** Starts the server again, without the fault. */
  async next(): Promise<string> {
    await this.#server.kill();
    return await errorOf(startAndUse(this.#server));
  }

  async #group(group: readonly [Action, ...Action[]]): Promise<ActionCell[]> {
    const server = this.#server;
    // Connections are opened first: a server under a fault may accept no new ones.
    const sessions = await Promise.all(group.map(() => server.connect()));
    const other = await server.connect();
    const before = await this.#snapshot();
    const end = await this.#parts.begin(group[0]);
    const begun = this.#keyFiles();
    const [loadedKeysError, ...ran] = await Promise.all([
      errorOf(useLoadedKeys(other)),
      ...sessions.map((session, n) => this.#act(group[n] ?? group[0], session, group.length === 1)),
    ]);
    const meanwhile = difference(begun, this.#keyFiles());
    await end();
    const changed = [...meanwhile, ...difference(before, await this.#snapshot())];
    await Promise.all([other, ...sessions].map((session) => session.end()));
    return ran.map((cell) => ({ ...cell, changed, loadedKeysError }));
  }

  async #act(
    moment: Action,
    session: Connection,
    isAlone: boolean,
  ): Promise<Pick<ActionCell, 'moment' | 'error' | 'seconds' | 'log'>> {
    const from = this.#server.log.length;
    const started = performance.now();
    const failed = await errorOf(this.#do(moment, (text) => session.query(text)));
    const seconds = (performance.now() - started) / 1000;
    const log = pluginLines(this.#server.log.slice(from));
    return { moment, error: failed, seconds, log: isAlone ? log : log.filter((line) => SUBJECTS[moment].test(line)) };
  }

  async #do(moment: Action, query: (text: string) => Promise<unknown>): Promise<unknown> {
    if (moment !== 'rewrap') return await query(STATEMENTS[moment]);
    return await this.#parts.rewrap?.();
  }

  #keyFiles(): Map<string, string> {
    return keyFiles(this.#parts.keyDirectory);
  }

  /** Returns the key files and the latest version of every key. */
  async #snapshot(): Promise<Map<string, string>> {
    const rows: Row[] = await this.#server.sql(
      "SHOW GLOBAL STATUS LIKE 'Aws\\_key\\_management\\_key\\_%\\_latest\\_version'",
    );
    const versions = rows.map(({ Variable_name, Value }): [string, string] => [String(Variable_name), String(Value)]);
    return new Map([...this.#keyFiles(), ...versions]);
  }
}

type ActionCell = Omit<Cell, 'againError'> & { readonly moment: Action };

/** Creates the data that trials begin with, and stops the server. */
export async function makeData(server: ScratchServer): Promise<void> {
  await server.start();
  await server.sql('CREATE DATABASE d');
  for (const id of [USED, OTHER])
    await server.sql(`CREATE TABLE d.t${id} (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`);
  await server.stop();
}

/**
 * Runs the work for all items and returns the results in order. When one fails, the others are awaited first, because
 * each has a server to end.
 */
export async function runEach<T, R>(
  items: readonly T[],
  atOnce: number,
  run: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const troubles: unknown[] = [];
  await forEachBounded([...items.entries()], atOnce, async ([index, item]) => {
    try {
      results[index] = await run(item, index);
    } catch (trouble) {
      troubles.push(trouble);
    }
  });
  if (troubles.length > 0) throw new AggregateError(troubles, 'some could not be tried');
  return results;
}

/** The broken promises of a trial, a line each. */
export function brokenPromises(cells: readonly Cell[]): string[] {
  return cells.flatMap(({ moment, error, changed, loadedKeysError, againError }) => [
    ...(error === '' || changed.length === 0 ? [] : [`${moment} failed and changed ${changed.join(', ')}`]),
    ...(loadedKeysError === '' ? [] : [`${moment}: loaded keys did not work: ${loadedKeysError}`]),
    ...(againError === '' ? [] : [`${moment} failed when all was well again: ${againError}`]),
  ]);
}

async function startAndUse(server: ScratchServer): Promise<void> {
  await server.start();
  await useServer(server);
}

async function useServer(server: ScratchServer): Promise<void> {
  const connection = await server.connect();
  try {
    await useLoadedKeys(connection);
  } finally {
    await connection.end();
  }
}

async function useLoadedKeys(connection: Connection): Promise<void> {
  for (const id of [USED, OTHER]) {
    const count = async (): Promise<number> => {
      const rows: readonly Row[] = await connection.query(`SELECT COUNT(*) AS n FROM d.t${id}`);
      return Number(rows[0]?.['n']);
    };
    const before = await count();
    await connection.query(`INSERT INTO d.t${id} VALUES (${id})`);
    if ((await count()) <= before) throw new Error(`a row of d.t${id} is gone`);
  }
}

async function errorOf(action: Promise<unknown>): Promise<string> {
  try {
    await action;
    return '';
  } catch (thrown) {
    if (!(thrown instanceof Error)) throw thrown;
    return 'sqlMessage' in thrown ? String(thrown.sqlMessage) : thrown.message;
  }
}

function pluginLines(log: string): string[] {
  return log
    .split('\n')
    .filter((line) => /\[(?:ERROR|Warning)\]/.test(line) && line.includes('AWS KMS plugin: '))
    .map((line) => line.replace(/^.*?\[/, '[').replace('mariadbd: ', ''));
}

/** Returns the type of each key file and the checksum of ordinary ones. A missing directory has none. */
function keyFiles(directory: string): Map<string, string> {
  if (!existsSync(directory)) return new Map();
  const names = readdirSync(directory).filter((name) => name.includes('aws-kms'));
  return new Map(names.map((name) => [name, identity(join(directory, name))]));
}

function identity(path: string): string {
  const { mode, size, mtimeMs } = lstatSync(path);
  if ((mode & constants.S_IFMT) !== constants.S_IFREG || size > 1_000_000) return `${mode} ${size} ${mtimeMs}`;
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

function difference(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((name) => before.get(name) !== after.get(name)).sort();
}
