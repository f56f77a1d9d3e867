/** A server from whose key directory versions were taken away, and all that it still does. */
import { readdirSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { SqlError } from 'mariadb';
import type { Row, ScratchServer } from '../scratch-server.ts';
import { startAfterKill } from '../start-after-kill.ts';
import { insertRows, type Table, tablesOf } from './formats.ts';
import type { Prediction } from './predict.ts';
import type { Site } from './site.ts';
import type { State } from './states.ts';

/** Content of each table, or the error of reading it. */
type Contents = ReadonlyMap<string, string>;

/** The results of a server with all its keys on the same data. */
export interface Control {
  readonly contents: Contents;
  readonly imports: ReadonlySet<string>;
}

const SYSTEM_TABLES = ['innodb_table_stats', 'innodb_index_stats', 'gtid_slave_pos', 'transaction_registry'];
/**
 * Errors of a table whose key is missing: "encrypted but decryption failed", 192 of an engine and 1296 of the server; a
 * damaged index and a damaged table, as which MariaDB reports the same when it does not get as far as the rows.
 */
const NO_KEY = /^error (?:192|1296|1034|1877) /;
/** Rows from here on are written by the server that lacks keys. */
const NEW_ROWS = 100_000;

/** @throws Error when a table cannot be read with all keys */
export async function controlOf(site: Site, state: State): Promise<Control> {
  site.restore(state.name);
  await startAfterKill(site.server);
  const contents = await readAll(site, true);
  const failed = [...contents].filter(([, content]) => content.startsWith('error'));
  if (failed.length > 0) throw new Error(`with all keys: ${failed.map((entry) => entry.join(' ')).join('; ')}`);
  const imports = new Set<string>();
  // A file whose changes are in the redo log alone does not import.
  if (state.end === 'stopped')
    for (const table of tablesOf(site.build).filter(({ isImported }) => isImported))
      if ((await importOf(site, state, table)) === '') imports.add(`d.${table.name}`);
  await site.server.stop();
  return { contents, imports };
}

/** A comparison. `what` is a table as DATABASE.TABLE, a log, or `start`; an empty problem means that it is as predicted. */
export interface Check {
  readonly what: string;
  readonly problem: string;
}

export interface Trial {
  /** The versions that the server has no files of, as ID.VERSION. */
  readonly versions: readonly string[];
  readonly prediction: Prediction;
  readonly control: Control;
  /** True: kill the server after it has written, also when it lacks keys that something needs. */
  readonly isThorough: boolean;
}

export async function tryWithout(site: Site, state: State, trial: Trial): Promise<readonly Check[]> {
  const { versions, prediction, control, isThorough } = trial;
  site.restore(state.name);
  site.takeAway(versions);
  // Nothing needs them: then the plugin itself has to start as well.
  const isNothing = prediction.starts && prediction.notImported.size + prediction.logs.size === 0;
  site.set({ aws_key_management_allow_missing_keys: isNothing ? 'OFF' : 'ON' });
  try {
    if (!(await starts(site))) return [{ what: 'start', problem: problemOfNoStart(site, trial) }];
    // Recovery may make the page anew that needs the version.
    if (!prediction.starts) return [{ what: 'start', problem: prediction.isRecovered ? '' : 'starts' }];
    const readable = tablesOf(site.build).filter(
      ({ name }) => !prediction.unreadable.has(`d.${name}`) && (name !== 'fts' || prediction.isSearchable),
    );
    return [
      ...compare(trial, await readAll(site, mayBeSearched(prediction))),
      ...(await compareLogs(site, trial)),
      ...(isThorough || isNothing ? await compareAfterKill(site, readable, trial) : []),
      ...(await compareImports(
        site,
        state,
        // All that can be imported is, where nothing needs the versions.
        readable.filter(({ name }) => isNothing || prediction.notImported.has(`d.${name}`)),
        prediction,
        control.imports,
      )),
    ];
  } catch (error) {
    await pause(1000);
    if (site.server.isRunning) throw error;
    return [{ what: 'end', problem: `the server ended without ${versions.join(' ')}:\n${endOf(site.server)}` }];
  } finally {
    await site.server.kill();
    site.set({ aws_key_management_allow_missing_keys: 'ON' });
  }
}

/** Recovery may read a table before anybody asks for it. */
function problemOfNoStart({ server }: Site, { versions, prediction }: Trial): string {
  const log = server.log.slice(server.log.lastIndexOf('Starting MariaDB'));
  const isForKey = versions.some((name) => {
    const [id, version] = name.split('.');
    return log.includes(`key ${id} version ${version}: there is no file`) || log.includes(`key ${id} is not among`);
  });
  if (isForKey && (!prediction.starts || (prediction.isRecovered && prediction.unreadable.size > 0))) return '';
  return `does not start: ${errorsIn(log)}`;
}

async function starts({ server }: Site): Promise<boolean> {
  try {
    await startAfterKill(server);
    await server.sql('SELECT 1');
    return true;
  } catch {
    await server.kill();
    return false;
  }
}

/** Why it ended, in its own words. */
function endOf({ log }: ScratchServer): string {
  return log
    .slice(log.lastIndexOf('Starting MariaDB'))
    .split('\n')
    .filter((line) => /\[ERROR\]|Assertion|got signal|Query \(/.test(line))
    .slice(-20)
    .join('\n');
}

function errorsIn(log: string): string {
  const errors = log.split('\n').filter((line) => line.includes('[ERROR]'));
  return errors
    .slice(0, 3)
    .map((line) => line.replace(/^.*\[ERROR\] /, ''))
    .join(' / ');
}

/** Writes to what can be written, kills the server and reads again. */
async function compareAfterKill(site: Site, readable: readonly Table[], trial: Trial): Promise<readonly Check[]> {
  const written = readable.filter(({ isRecovered }) => isRecovered);
  await insertRows(site.server, written, NEW_ROWS);
  await site.server.kill();
  if (await starts(site)) return compare(trial, await readAll(site, mayBeSearched(trial.prediction)));
  const log = site.server.log.slice(site.server.log.lastIndexOf('Starting MariaDB'));
  return [{ what: 'start', problem: `does not start after a kill: ${errorsIn(log)}` }];
}

function compare({ prediction, control }: Trial, got: Contents): readonly Check[] {
  return [...got].map(([what, content]) => {
    const isWhole = content === control.contents.get(what);
    // CHECK TABLE of the table may ask for the files of its FULLTEXT index.
    const mayBeWhole = prediction.isRecovered || (what === 'd.fts' && !prediction.unreadable.has(what));
    const mayFail = prediction.unreadable.has(what) || (what === 'd.fts' && !prediction.isSearchable);
    const isAsPredicted = mayFail ? NO_KEY.test(content) || (mayBeWhole && isWhole) : isWhole;
    return { what, problem: isAsPredicted ? '' : `reads ${content}` };
  });
}

async function compareLogs({ server }: Site, { prediction: { logs } }: Trial): Promise<readonly Check[]> {
  const statements = [
    ...(await server.sql('SHOW BINARY LOGS')).map((row) => [String(row['Log_name']), 'BINLOG'] as const),
    ...readdirSync(server.datadir)
      .filter((log) => /^relay\.\d+$/.test(log))
      .map((log) => [log, 'RELAYLOG'] as const),
  ];
  const checks: Check[] = [];
  for (const [log, kind] of statements) {
    const error = await errorOf(server.sql(`SHOW ${kind} EVENTS IN '${log}'`));
    checks.push({ what: log, problem: logs.has(log) === (error !== '') ? '' : error || 'is read' });
  }
  return checks;
}

async function compareImports(
  site: Site,
  state: State,
  tables: readonly Table[],
  { notImported, mayBeImported }: Prediction,
  imports: ReadonlySet<string>,
): Promise<readonly Check[]> {
  const checks: Check[] = [];
  for (const table of tables.filter(({ name }) => imports.has(`d.${name}`))) {
    const name = `d.${table.name}`;
    const error = await importOf(site, state, table);
    const isWhole = error === '' && (!notImported.has(name) || mayBeImported.has(name));
    const isAsPredicted = isWhole || (notImported.has(name) && /^error (?:192|1296)\b/.test(error));
    checks.push({ what: name, problem: isAsPredicted ? '' : `imports: ${error || 'without an error'}` });
  }
  return checks;
}

/** Imports the captured file of the table in the place of its own. Returns the error, or nothing. */
async function importOf(site: Site, state: State, { name }: Table): Promise<string> {
  return await errorOf(
    inSession(site.server, async (sql) => {
      await sql(`ALTER TABLE d.${name} DISCARD TABLESPACE`);
      site.putTablespace(state.name, name);
      await sql(`ALTER TABLE d.${name} IMPORT TABLESPACE`);
      await sql(`SELECT COUNT(*) FROM d.${name}`);
    }),
  );
}

/** The content of a table, or the error of reading it. */
export async function contentOfTable(server: ScratchServer, { name, isShort }: Table): Promise<string> {
  const columns = isShort ? 'i, s' : 'i, s, b';
  return await contentOf(server, `d.${name}`, [
    `SELECT COUNT(*) AS n, SUM(CRC32(CONCAT_WS(',', ${columns}))) AS crc FROM d.${name} FORCE INDEX (PRIMARY) WHERE i < ${NEW_ROWS}`,
    ...(name === 'geo'
      ? [
          `SELECT COUNT(*) AS n FROM d.geo WHERE MBRWithin(g, ST_GeomFromText('POLYGON((0 0,0 60,60 60,60 0,0 0))')) AND i < ${NEW_ROWS}`,
        ]
      : []),
  ]);
}

async function readAll({ server, build }: Site, isSearched: boolean): Promise<Contents> {
  const contents = new Map<string, string>();
  for (const table of tablesOf(build)) contents.set(`d.${table.name}`, await contentOfTable(server, table));
  if (isSearched)
    contents.set(
      'd.fts search',
      await contentOf(server, 'd.fts', ["SELECT COUNT(*) AS n FROM d.fts WHERE MATCH (s) AGAINST ('word7')"]),
    );
  for (const name of SYSTEM_TABLES)
    contents.set(
      `mysql.${name}`,
      await contentOf(server, `mysql.${name}`, [`SELECT COUNT(*) >= 0 AS n FROM mysql.${name}`]),
    );
  return contents;
}

function mayBeSearched({ isSearchable, unreadable }: Prediction): boolean {
  return isSearchable && !unreadable.has('d.fts');
}

async function contentOf(server: ScratchServer, table: string, statements: readonly string[]): Promise<string> {
  const found: Row[] = [];
  const error = await errorOf(
    inSession(server, async (sql) => {
      for (const statement of statements) found.push(...(await sql(statement)));
      const check = await sql(`CHECK TABLE ${table} EXTENDED`);
      found.push(...check.filter((row) => row['Msg_text'] !== 'OK'));
    }),
  );
  return error || JSON.stringify(found);
}

/** Runs the statements of `work` on one connection. */
async function inSession(
  server: ScratchServer,
  work: (sql: (text: string) => Promise<readonly Row[]>) => Promise<void>,
): Promise<void> {
  const session = await server.connect();
  try {
    await work(async (text) => {
      const result: unknown = await session.query(text);
      return Array.isArray(result) ? result : [];
    });
  } finally {
    await session.end().catch(() => undefined);
  }
}

/** Returns the SQL error of the action, or nothing. */
export async function errorOf(action: Promise<unknown>): Promise<string> {
  try {
    await action;
    return '';
  } catch (error) {
    if (!(error instanceof SqlError)) throw error;
    return `error ${error.errno} ${error.sqlMessage}`;
  }
}
