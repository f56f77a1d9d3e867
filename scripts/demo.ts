/**
 * The main job on real parts: an embedded KMS on loopback, a scratch mariadbd with the plugin, and proof on the bytes.
 *   npm run demo [-- --keep]
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { styleText } from 'node:util';
import { COMMAND, installDatabase, pluginOptions, type Row, ScratchServer } from '../harness/scratch-server.ts';

const SECRET = 'the quick brown secret of customer 4711';
const MASTER_KEY = 'alias/mariadb-encryption';
/** Milliseconds that the server runs without KMS. */
const OUTAGE_MS = 3000;

const keep = process.argv.includes('--keep');
const directory = mkdtempSync(join(tmpdir(), 'mariadb-aws-kms-demo-'));
const callsFile = join(directory, 'kms-calls.jsonl');
let kmsProcess: ChildProcess | undefined;
let server: ScratchServer | undefined;
let step = 0;

function title(text: string): void {
  step += 1;
  console.log(`\n${styleText('bold', `${step}. ${text}`)}`);
}

function tell(text: string): void {
  console.log(`   ${text}`);
}

function proves(text: string): void {
  console.log(`   ${styleText('green', '✔')} ${text}`);
}

/** Prints a claim of the demo, or ends it if the claim is false. */
function check(holds: boolean, claim: string): void {
  if (!holds) throw new Error(`not so: ${claim}`);
  proves(claim);
}

interface KmsEvent {
  readonly event: string;
  readonly url?: string;
  readonly operation?: string;
  readonly error?: string;
}

function kmsEvents(): KmsEvent[] {
  if (!existsSync(callsFile)) return [];
  return readFileSync(callsFile, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line): KmsEvent => JSON.parse(line));
}

function countCalls(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { event, operation = '' } of kmsEvents()) {
    if (event === 'call') counts.set(operation, (counts.get(operation) ?? 0) + 1);
  }
  return counts;
}

async function startKms(): Promise<string> {
  const output = openSync(callsFile, 'a');
  const state = join(directory, 'kms-state.json');
  kmsProcess = spawn(COMMAND, ['dev-kms', '--json', '--alias', MASTER_KEY, '--state', state], {
    stdio: ['ignore', output, 'ignore'],
    detached: true,
  });
  kmsProcess.unref();
  closeSync(output);
  for (let waited = 0; waited < 10_000; waited += 50) {
    const url = kmsEvents().find(({ event }) => event === 'listening')?.url;
    if (url !== undefined) return url;
    await pause(50);
  }
  throw new Error('the embedded KMS did not start');
}

async function stopKms(): Promise<void> {
  if (kmsProcess === undefined || kmsProcess.exitCode !== null) return;
  const ended = once(kmsProcess, 'exit');
  kmsProcess.ref();
  kmsProcess.kill('SIGTERM');
  await ended;
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

async function sql(on: ScratchServer, statement: string): Promise<Row[]> {
  console.log(`   ${styleText('cyan', `MariaDB> ${statement};`)}`);
  const rows = await on.sql(statement);
  for (const row of rows) tell(Object.values(row).map(String).join('  '));
  return rows;
}

function ibd(on: ScratchServer, table: string): Buffer {
  return readFileSync(join(on.datadir, 'shop', `${table}.ibd`));
}

async function main(): Promise<void> {
  title('AWS KMS: the embedded one, on loopback');
  const url = await startKms();
  tell(`It speaks the KMS protocol at ${url} and has one master key, ${MASTER_KEY}. It is for trials only.`);

  title('A MariaDB server with aws_key_management=FORCE_PLUS_PERMANENT');
  const options = pluginOptions(url, { innodb_encryption_threads: 2 });
  await installDatabase(join(directory, 'data'));
  const scratch = new ScratchServer({ directory, options, detached: true });
  server = scratch;
  await scratch.start();
  for (const [name, value] of Object.entries(options)) tell(styleText('dim', `${name} = ${value}`));
  await sql(
    scratch,
    "SELECT VERSION(), PLUGIN_NAME, PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_TYPE = 'ENCRYPTION'",
  );

  title('Encrypted tables');
  await sql(scratch, 'CREATE DATABASE shop');
  await sql(scratch, 'CREATE TABLE shop.t (i INT) ENGINE=InnoDB ENCRYPTED=YES');
  await sql(scratch, 'CREATE TABLE shop.customers (note TEXT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  await sql(scratch, 'CREATE TABLE shop.in_clear (note TEXT) ENGINE=InnoDB ENCRYPTED=NO');
  for (const table of ['customers', 'in_clear']) await sql(scratch, `INSERT INTO shop.${table} VALUES ('${SECRET}')`);
  await sql(scratch, 'CREATE TABLE shop.two (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=2');
  const keys = readdirSync(scratch.datadir).filter((file) => /^aws-kms-key\.\d+\.\d+$/.test(file));
  check(
    keys.length === 3,
    `KMS made a data key for each key id; only KMS can open the files: ${keys.sort().join(', ')}`,
  );

  title('Rotation');
  await sql(scratch, 'SET GLOBAL aws_key_management_rotate_key=2');
  await sql(scratch, 'SET GLOBAL aws_key_management_rotate_key=-1');
  const status = await sql(scratch, "SHOW STATUS LIKE 'Aws_key_management_key%latest_version'");
  check(status.map(({ Value }) => Value).join() === '2,3,2', 'every key has a new version, key 2 has two');
  await sql(scratch, 'SET GLOBAL aws_key_management_rotate_key=99').then(
    () => check(false, 'a key that does not exist cannot be rotated'),
    (error: Error & { sqlMessage?: string }) => {
      tell(styleText('yellow', `ERROR: ${error.sqlMessage ?? error.message}`));
      proves('a rotation that fails is an SQL error with its reason');
    },
  );

  title('Restart');
  await scratch.restart();
  const [row] = await sql(scratch, 'SELECT note FROM shop.customers');
  check(
    row?.['note'] === SECRET,
    'KMS unwrapped every key version before the server took connections; the data is there',
  );

  title('The bytes on disk');
  check(ibd(scratch, 'in_clear').includes(SECRET), `"${SECRET}" is found in in_clear.ibd (ENCRYPTED=NO)`);
  check(!ibd(scratch, 'customers').includes(SECRET), 'it is not found in customers.ibd (ENCRYPTED=YES)');

  title('KMS goes away');
  const made = countCalls();
  await stopKms();
  check(await isRefused(url), 'the embedded KMS is stopped; nothing listens at its address any more');
  const logged = scratch.log.length;
  await sql(
    scratch,
    'CREATE TABLE shop.later (id INT AUTO_INCREMENT PRIMARY KEY, note CHAR(200)) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3',
  );
  const session = await scratch.connect();
  let longestMs = 0;
  let rows = 0;
  for (const endMs = performance.now() + OUTAGE_MS; performance.now() < endMs; rows += 1) {
    const startedMs = performance.now();
    await session.query("INSERT INTO shop.later (note) VALUES (REPEAT('x', 200))");
    longestMs = Math.max(longestMs, performance.now() - startedMs);
  }
  await session.end();
  check(
    longestMs < 1000,
    `${rows} rows written in ${OUTAGE_MS / 1000} s without KMS; the slowest took ${longestMs.toFixed(1)} ms`,
  );
  check(!/\[(?:ERROR|Warning)\]/.test(scratch.log.slice(logged)), 'the error log has no word about it');

  title('What KMS was asked');
  for (const [operation, count] of made) tell(`${String(count).padStart(3)} × ${operation}`);
  check(
    made.get('GenerateDataKeyWithoutPlaintext') === 7 && made.get('Decrypt') === 14 && made.size === 2,
    'two kinds of call: 7 key versions were made, each unwrapped when it was made and once at the restart',
  );
}

async function isRefused(url: string): Promise<boolean> {
  return await fetch(url).then(
    () => false,
    () => true,
  );
}

let cleaning: Promise<void> | undefined;

/** Runs once, whether the demo ends, fails or gets a signal. */
async function cleanUp(): Promise<void> {
  cleaning ??= (async () => {
    await server?.stop();
    await stopKms();
    rmSync(directory, { recursive: true, force: true });
  })();
  await cleaning;
}

async function leaveRunning(running: ScratchServer): Promise<void> {
  const url = await restartKms(running);
  console.log(`
The server is up. Connect:
  mariadb --no-defaults --socket=${running.socket} --user=root
Its error log: ${running.logFile}
The embedded KMS: ${url}
Stop both and remove everything:
  kill ${running.pid} ${kmsProcess?.pid}; sleep 3; rm -r ${directory}`);
}

/** The server keeps its KMS address, so the restarted KMS needs the same port. */
async function restartKms(running: ScratchServer): Promise<string> {
  rmSync(callsFile, { force: true });
  const url = await startKms();
  running.options = { ...running.options, aws_key_management_endpoint_url: url };
  await running.restart();
  return url;
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    console.error('\nStopping.');
    void cleanUp().finally(() => process.exit(1));
  });
}

try {
  await main();
  if (keep && server !== undefined) await leaveRunning(server);
  else {
    await cleanUp();
    console.log(`\n${styleText('bold', 'All of it held. Nothing is left running, and nothing left behind.')}`);
  }
} catch (error) {
  if (cleaning === undefined) {
    console.error(
      `\n${styleText('red', 'The demo failed:')} ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  await cleanUp();
  process.exitCode = 1;
}
