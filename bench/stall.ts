/**
 * How long a session that writes with loaded keys waits at most for a commit while KMS hangs for another session, and while
 * it does not; and how long others wait for the locks of a statement that waits for KMS. Into docs/reliability.md.
 *   npm run bench:stall
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { FailingKms } from '../campaigns/failing-kms.ts';
import { writeSection } from '../harness/document-section.ts';
import { EVERYTHING_ENCRYPTED, installDatabase, pluginOptions, ScratchServer } from '../harness/scratch-server.ts';
import { type Lap, Writers } from '../harness/writers.ts';

const SESSIONS = 4;
/** As long as a rotation waits for KMS. */
const QUIET_MS = 30_000;
/** Killed statements whose wait is timed. The plugin polls five times a second whether a statement was killed. */
const KILLS = 10;

/** The statement fails at its deadline, and no sooner: KMS hangs. */
async function failsInVain(server: ScratchServer, statement: string): Promise<void> {
  const failed = await server.sql(statement).then(
    () => false,
    () => true,
  );
  if (!failed) throw new Error(`succeeded although KMS hangs: ${statement}`);
}

function row(what: string, { seconds, commits, longestGapMs }: Lap): string {
  return `| ${what} | ${seconds.toFixed(0)} s | ${commits} | ${longestGapMs.toFixed(0)} ms |`;
}

const CREATE = 'CREATE TABLE d.fresh (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=';

async function seconds(work: Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work.catch(() => undefined);
  return (performance.now() - startedMs) / 1000;
}

async function isWaitedFor(scratch: ScratchServer, statement: string): Promise<void> {
  const query = `SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE '${statement}%'`;
  while ((await scratch.sql(query)).length === 0) await pause(20);
}

/**
 * Measures statements that wait while KMS hangs for `CREATE TABLE` with a new key: rows of a table. The server is
 * stopped at the end.
 */
async function locks(scratch: ScratchServer): Promise<string[]> {
  const rows: string[] = [];
  const show = (what: string, ...took: number[]): void => {
    rows.push(`| ${what} | ${Math.max(...took).toFixed(1)} s |`);
  };
  let id = 60;
  for (const lock of ['FLUSH TABLES WITH READ LOCK', 'BACKUP STAGE BLOCK_DDL']) {
    const [creator, locker, writer] = await Promise.all([scratch.connect(), scratch.connect(), scratch.connect()]);
    const create = `${CREATE}${id}`;
    id += 1;
    const created = seconds(creator.query(create));
    await isWaitedFor(scratch, create);
    if (lock.startsWith('BACKUP')) await locker.query('BACKUP STAGE START');
    const locked = seconds(locker.query(lock));
    await pause(100);
    const written = seconds(writer.query('INSERT INTO d.t VALUES (0)').finally(() => locker.end()));
    // A writer that is blocked by the lock continues when its session has ended.
    void locked.then(() => locker.end().catch(() => undefined));
    show('`CREATE TABLE` with a new key, alone or not', await created);
    show(`\`${lock}\` beside it`, await locked);
    show(`\`INSERT\` into another table, beside both`, await written);
    await Promise.all([creator.end(), writer.end()]);
  }
  const killed: number[] = [];
  for (let kill = 0; kill < KILLS; kill += 1) {
    const create = `${CREATE}${id}`;
    id += 1;
    const creator = await scratch.connect();
    const created = seconds(creator.query(create));
    await isWaitedFor(scratch, create);
    await scratch.sql(`KILL QUERY ${creator.threadId}`);
    killed.push(await seconds(created));
    await creator.end();
  }
  show(`from \`KILL\` of it to its end, the longest of ${KILLS}`, ...killed);
  const creator = await scratch.connect();
  void creator.query(`${CREATE}${id}`).catch(() => undefined);
  await isWaitedFor(scratch, `${CREATE}${id}`);
  show('from a shutdown beside it to its end', await seconds(scratch.stop()));
  return [...new Set(rows)];
}

const directory = mkdtempSync(join(tmpdir(), 'mak-stall-'));
const kms = await FailingKms.start(join(directory, 'kms.json'));
const options = { ...EVERYTHING_ENCRYPTED, innodb_flush_log_at_trx_commit: 2 };
const server = new ScratchServer({ directory: join(directory, 'server'), options: pluginOptions(kms.url, options) });
try {
  await installDatabase(join(directory, 'template'));
  server.copyDatabase(join(directory, 'template'));
  await server.start();
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB');
  const writers = await Writers.start(server, 'd.t', SESSIONS);
  await pause(5000);
  writers.lap();
  const rows: string[] = [];
  const measure = async (what: string, meanwhile: Promise<unknown>): Promise<void> => {
    await meanwhile;
    rows.push(row(what, writers.lap()));
  };
  await measure('nothing else, before', pause(QUIET_MS));
  kms.fail({ kind: 'hang' });
  await measure(
    'another session: `CREATE TABLE` with a new key',
    failsInVain(server, 'CREATE TABLE d.fresh (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=50'),
  );
  await measure('another session: a rotation', failsInVain(server, 'SET GLOBAL aws_key_management_rotate_key=1'));
  await kms.recover();
  writers.lap();
  await measure('nothing else, after', pause(QUIET_MS));
  await writers.stop();
  kms.fail({ kind: 'hang' });
  const waits = await locks(server);
  const table = `| beside the ${SESSIONS} writing sessions | time | commits | longest gap between two commits of a session |
|---|---|---|---|
${rows.join('\n')}

While KMS never answers, on the same server:

| what waits | for |
|---|---|
${waits.join('\n')}
`;
  console.log(table);
  writeSection(join(import.meta.dirname, '../docs/reliability.md'), 'made by npm run bench:stall', `\n${table}\n`);
} finally {
  await server.kill();
  await kms.close();
  rmSync(directory, { recursive: true, force: true });
}
