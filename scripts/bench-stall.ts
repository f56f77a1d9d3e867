/**
 * How long a session that writes with loaded keys waits at most for a commit while KMS hangs for another session, and while
 * it does not; into docs/reliability.md.
 *   npm run bench:stall
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { writeSection } from './lib/document-section.ts';
import { FailingKms } from './lib/failing-kms.ts';
import { EVERYTHING_ENCRYPTED, installDatabase, pluginOptions, ScratchServer } from './lib/scratch-server.ts';
import { type Lap, Writers } from './lib/writers.ts';

const SESSIONS = 4;
/** As long as a statement waits for KMS. */
const QUIET_MS = 30_000;

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
  const table = `| beside the ${SESSIONS} writing sessions | time | commits | longest gap between two commits of a session |
|---|---|---|---|
${rows.join('\n')}
`;
  console.log(table);
  writeSection(join(import.meta.dirname, '../docs/reliability.md'), 'made by npm run bench:stall', `\n${table}\n`);
} finally {
  await server.kill();
  await kms.close();
  rmSync(directory, { recursive: true, force: true });
}
