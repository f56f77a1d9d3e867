/** KMS failing in every way at every moment at which a server needs it: what the server does, and what it says. */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { forEachBounded } from '../../src/keyring/bounded.ts';
import type { FaultRule } from '../../src/kms/embedded/index.ts';
import { FailingKms } from './failing-kms.ts';
import { pluginOptions, type Row, ScratchServer } from './scratch-server.ts';

export const REQUEST_TIMEOUT_MS = 1000;
/** Of a start that meets the failure. Agents of many servers start at the same time here, and need some of it. */
export const START_TIMEOUT_S = 20;
/** Servers at work at the same time: those that wait for a deadline of 30 s, and one for the rest. */
const AT_ONCE = 8;
/** A failed key is not asked for again for a second, so that a broken page does not become a storm. */
const NOT_ASKED_AGAIN_MS = 1100;

/** Loaded, and used by a table; loaded; new. */
const [USED, OTHER, NEW] = [1, 3, 50];

const STATEMENTS = {
  create: `CREATE TABLE d.fresh (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${NEW}`,
  rotate: `SET GLOBAL aws_key_management_rotate_key=${OTHER}`,
  rotateAll: 'SET GLOBAL aws_key_management_rotate_key=-1',
} as const;
type Statement = keyof typeof STATEMENTS;
const STATEMENT_NAMES = ['create', 'rotate', 'rotateAll'] as const;

/** What is told of each statement's key. Rotating all tells of each key; this is the one that nothing else rotates. */
const SUBJECTS: Readonly<Record<Statement, RegExp>> = {
  create: new RegExp(`key ${NEW} `),
  rotate: new RegExp(`key ${OTHER} `),
  rotateAll: new RegExp(`key ${USED} |of all keys`),
};

export type Moment = 'start' | Statement;
export const MOMENTS: readonly Moment[] = ['start', ...STATEMENT_NAMES];

export interface Failure {
  readonly what: string;
  /** Tried again until the deadline: its statements run at the same time, to save time. */
  readonly lasts: boolean;
  /** With a new key nothing can tell it from a right answer: the key that KMS never made is in use until the next start. */
  readonly unseenWithNewKeys?: true;
  readonly begin: (kms: FailingKms, moment: Moment) => void | Promise<void>;
}

function faults(what: string, lasts: boolean, ...rules: readonly FaultRule[]): Failure {
  return { what, lasts, begin: (kms) => kms.fail(...rules) };
}

function error(name: string, status: number, message: string, count?: number): FaultRule {
  return { kind: 'error', name, status, message, count };
}

const THROTTLING = ['ThrottlingException', 400, 'You have exceeded the rate at which you may call KMS.'] as const;

export const FAILURES: readonly Failure[] = [
  { what: 'refuses connections', lasts: true, begin: (kms) => kms.refuseConnections() },
  faults('takes connections and never answers', true, { kind: 'hang' }),
  faults('answers later than request_timeout', true, { kind: 'latency', ms: 3 * REQUEST_TIMEOUT_MS }),
  faults('throttles all the time', true, error(...THROTTLING)),
  faults('has internal errors (status 500)', true, error('KMSInternalException', 500, '')),
  faults('is a proxy that sends HTML (status 502)', true, { kind: 'garbage' }),
  faults('sends half an answer and hangs up', true, { kind: 'half' }),
  faults('is slow, within request_timeout', false, { kind: 'latency', ms: REQUEST_TIMEOUT_MS / 4 }),
  faults('throttles for a moment', false, error(...THROTTLING, 4)),
  faults('denies access', false, error('AccessDeniedException', 400, 'the identity is not authorized')),
  {
    what: 'has its master key disabled',
    lasts: false,
    begin: (kms, moment) => (moment === 'start' ? kms.disableMasterKey() : kms.disableMasterKeyWhenGenerated()),
  },
  faults('answers Decrypt with the KeyId of another master key', false, { operation: 'Decrypt', kind: 'wrong-key-id' }),
  {
    what: 'answers Decrypt with the plaintext of another data key',
    lasts: false,
    unseenWithNewKeys: true,
    begin: (kms) => kms.fail({ operation: 'Decrypt', kind: 'wrong-plaintext' }),
  },
];

/** What one moment of one failure brought. Texts are empty where nothing went wrong. */
export interface Cell {
  readonly moment: Moment;
  /** Why the server did not start; the statement's error. */
  readonly error: string;
  readonly seconds: number;
  /** Errors and warnings of the plugin about that moment's key, in the error log. */
  readonly log: readonly string[];
  /** Key files that are new, gone or other than before, and latest versions that changed. */
  readonly changed: readonly string[];
  /** Of reading and writing a table of a loaded key meanwhile; at a start that failed there is no server. */
  readonly loadedKeysError: string;
  /** Of the same once KMS was well again. */
  readonly againError: string;
}

export interface FailureReport {
  readonly failure: Failure;
  readonly cells: readonly Cell[];
  /** Of the start that follows, with KMS well. */
  readonly nextStartError: string;
}

/** @param directory an empty one; @param template an initialised data directory */
export async function runFailures(
  directory: string,
  template: string,
  failures: readonly Failure[] = FAILURES,
): Promise<FailureReport[]> {
  const used = join(directory, 'used');
  mkdirSync(used);
  const kms = await FailingKms.start(join(used, 'kms.json'));
  const server = new ScratchServer({ directory: used, options: pluginOptions(kms.url) });
  const reports: FailureReport[] = [];
  // Kept until the others are through: each has a server to end.
  const troubles: unknown[] = [];
  try {
    server.copyDatabase(template);
    await server.start();
    await server.sql('CREATE DATABASE d');
    for (const id of [USED, OTHER])
      await server.sql(`CREATE TABLE d.t${id} (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`);
    await server.stop();
    await forEachBounded(failures, AT_ONCE, async (failure) => {
      const place = join(directory, String(failures.indexOf(failure)));
      mkdirSync(place);
      await runFailure(failure, place, server.datadir, kms).then(
        (report) => reports.push(report),
        (trouble: unknown) => troubles.push(trouble),
      );
    });
    if (troubles.length > 0) throw new AggregateError(troubles, 'some failures could not be tried');
  } finally {
    await server.kill();
    await kms.close();
  }
  return reports.sort((a, b) => failures.indexOf(a.failure) - failures.indexOf(b.failure));
}

/** What no failure may do; each as a line. */
export function brokenPromises({ failure, cells, nextStartError }: FailureReport): string[] {
  const broken: string[] = [];
  const promise = (holds: boolean, text: string): void => {
    if (!holds) broken.push(`when KMS ${failure.what}: ${text}`);
  };
  for (const { moment, error: failed, changed, loadedKeysError, againError } of cells) {
    promise(failed === '' || changed.length === 0, `${moment} failed and changed ${changed.join(', ')}`);
    promise(loadedKeysError === '', `${moment}: loaded keys did not work: ${loadedKeysError}`);
    promise(againError === '', `${moment} failed when KMS was well again: ${againError}`);
  }
  promise(failure.unseenWithNewKeys === true || nextStartError === '', `the next start failed: ${nextStartError}`);
  return broken;
}

async function runFailure(
  failure: Failure,
  directory: string,
  datadir: string,
  origin: FailingKms,
): Promise<FailureReport> {
  const kms = await FailingKms.start(join(directory, 'kms.json'), origin);
  const options = pluginOptions(kms.url, {
    aws_key_management_request_timeout: REQUEST_TIMEOUT_MS,
    aws_key_management_watch_interval: 0,
  });
  const server = new ScratchServer({ directory, options });
  try {
    server.copyDatabase(datadir);
    const trial = new Trial(failure, kms, server);
    const cells = [await trial.start(), ...(await trial.statements())];
    await server.kill();
    await kms.recover();
    return { failure, cells, nextStartError: await errorOf(startAndUse(server)) };
  } finally {
    await server.kill();
    await kms.close();
  }
}

class Trial {
  readonly #failure: Failure;
  readonly #kms: FailingKms;
  readonly #server: ScratchServer;

  constructor(failure: Failure, kms: FailingKms, server: ScratchServer) {
    this.#failure = failure;
    this.#kms = kms;
    this.#server = server;
  }

  async start(): Promise<Cell> {
    const server = this.#server;
    const { options } = server;
    server.options = { ...options, aws_key_management_start_timeout: START_TIMEOUT_S };
    const files = keyFiles(server);
    const from = server.log.length;
    await this.#failure.begin(this.#kms, 'start');
    const started = performance.now();
    const failed = await errorOf(server.start());
    const seconds = (performance.now() - started) / 1000;
    const loadedKeysError = failed === '' ? await useLoadedKeys(server) : '';
    const changed = difference(files, keyFiles(server));
    await server.kill();
    await this.#kms.recover();
    server.options = options;
    const log = pluginLines(server.log.slice(from));
    const againError = await errorOf(startAndUse(server));
    return { moment: 'start', error: failed, seconds, log, changed, loadedKeysError, againError };
  }

  async statements(): Promise<Cell[]> {
    const ended: (Omit<Cell, 'againError'> & { readonly moment: Statement })[] = [];
    const run = async (...statements: [Statement, ...Statement[]]): Promise<void> => {
      const before = await snapshot(this.#server);
      await this.#kms.recover();
      await this.#failure.begin(this.#kms, statements[0]);
      const ran = await Promise.all(statements.map((statement) => this.#statement(statement)));
      const changed = difference(before, await snapshot(this.#server));
      ended.push(...ran.map((cell) => ({ ...cell, changed })));
    };
    if (this.#failure.lasts) await run(...STATEMENT_NAMES);
    else for (const statement of STATEMENT_NAMES) await run(statement);

    await this.#kms.recover();
    await pause(NOT_ASKED_AGAIN_MS);
    const cells: Cell[] = [];
    for (const cell of ended) {
      if (cell.error === '' && cell.moment === 'create') await this.#server.sql('DROP TABLE d.fresh');
      cells.push({ ...cell, againError: await errorOf(this.#server.sql(STATEMENTS[cell.moment])) });
    }
    return cells;
  }

  async #statement(moment: Statement): Promise<Omit<Cell, 'againError' | 'changed'> & { readonly moment: Statement }> {
    const server = this.#server;
    const from = server.log.length;
    const connection = await server.connect();
    const started = performance.now();
    const [failed, loadedKeysError] = await Promise.all([
      errorOf(connection.query(STATEMENTS[moment])),
      useLoadedKeys(server),
    ]);
    const seconds = (performance.now() - started) / 1000;
    await connection.end();
    const log = pluginLines(server.log.slice(from)).filter((line) => SUBJECTS[moment].test(line));
    return { moment, error: failed, seconds, log, loadedKeysError };
  }
}

async function startAndUse(server: ScratchServer): Promise<void> {
  await server.start();
  const failed = await useLoadedKeys(server);
  if (failed !== '') throw new Error(failed);
}

async function useLoadedKeys(server: ScratchServer): Promise<string> {
  return await errorOf(
    (async () => {
      for (const id of [USED, OTHER]) {
        const count = async (): Promise<number> =>
          Number((await server.sql(`SELECT COUNT(*) AS n FROM d.t${id}`))[0]?.['n']);
        const before = await count();
        await server.sql(`INSERT INTO d.t${id} VALUES (${id})`);
        if ((await count()) <= before) throw new Error(`a row of d.t${id} is gone`);
      }
    })(),
  );
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

function keyFiles(server: ScratchServer): Map<string, string> {
  const names = readdirSync(server.datadir).filter((name) => name.includes('aws-kms'));
  return new Map(
    names.map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(server.datadir, name)))
        .digest('hex'),
    ]),
  );
}

/** Key files, and the latest version of every key. */
async function snapshot(server: ScratchServer): Promise<Map<string, string>> {
  const rows: Row[] = await server.sql("SHOW GLOBAL STATUS LIKE 'Aws\\_key\\_management\\_key\\_%\\_latest\\_version'");
  const versions = rows.map(({ Variable_name, Value }): [string, string] => [String(Variable_name), String(Value)]);
  return new Map([...keyFiles(server), ...versions]);
}

function difference(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((name) => before.get(name) !== after.get(name)).sort();
}
