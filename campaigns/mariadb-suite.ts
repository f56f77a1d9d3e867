/**
 * Runs MariaDB's own tests of encryption with this plugin in the place of file_key_management, and ends with the line
 * "N passed, N failed, N skipped". See docs/mariadb-suite.md.
 *   mariadb-suite.ts [--mock] [--quick] [--keep] [--parallel=N] [TEST…]
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { EncryptCommand, KMSClient } from '@aws-sdk/client-kms';
import { filesWith, linkTree } from '../harness/link-tree.ts';
import { BUILD, COMMAND, PLUGIN_DIRECTORY, TEST_CREDENTIALS } from '../harness/scratch-server.ts';
import { TEST_ACCESS_KEY } from '../src/dev-kms/index.ts';
import { MOCK_STATE_FILE } from '../src/format/key-file-name.ts';
import {
  CONCERNS_US,
  keysOf,
  MAKES_CTR,
  MOCK_MODE,
  storedKeysOnly,
  translate,
  translatePath,
} from './suite-translation.ts';

const MASTER_KEY = 'alias/mariadb-encryption';
const PLUGIN = 'aws_key_management';

/** The roots of Debian's packages: installed, or unpacked by scripts/setup.sh. */
const ROOTS = ['/usr', join(BUILD, 'mariadb-test/usr')].filter((root) => existsSync(root));
const SUITE = oneOf(
  ['mysql', 'mariadb'].flatMap((share) => [`share/${share}/mysql-test`, `share/${share}/mariadb-test`]),
);
const PLUGINS = oneOf(['lib/mysql/plugin', 'lib/mariadb/plugin']);

/** Suites that are about encryption from end to end; of others run the tests that ask for file_key_management. */
const WHOLE_SUITES = ['encryption', 'binlog_encryption'];
const LEFT_OUT = [
  // The key file itself: its syntax, its size, its encryption.
  /^encryption\.filekeys_/,
  // Needs a server for S3.
  /^s3\./,
];

/** Keys created, found and absent; redo log, temporary files, binary log, backup. */
const QUICK = [
  'encryption.aria_tiny',
  'encryption.encrypt_and_grep',
  'encryption.innodb_encrypt_log',
  'encryption.innodb-redo-nokeys',
  'encryption.tempfiles_encrypted',
  'binlog_encryption.encrypted_master',
  'mariabackup.xb_aws_key_management',
  'mariabackup.xb_file_key_management',
  'maria.encrypt-wrong-key',
];

/** The directory beside the tree that mtr may write to. */
const RUN = 'run';

/** An unprivileged user: mtr refuses to run as root. */
const UNPRIVILEGED = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

function oneOf(paths: readonly string[]): string {
  const found = paths.find((path) => ROOTS.some((root) => existsSync(join(root, path))));
  if (found === undefined) {
    console.error(`mariadb-suite: error: none of ${paths.join(', ')} in ${ROOTS.join(' or ')}`);
    console.error('hint: sh scripts/setup.sh suite');
    process.exit(1);
  }
  return found;
}

interface Kms {
  readonly url: string;
  /** Wraps a line of a plain key file for a key directory. */
  wrap(bytes: Buffer): Promise<Uint8Array>;
  close(): Promise<void>;
}

async function startKms(stateFile: string): Promise<Kms> {
  const child = spawn(COMMAND, ['dev-kms', '--json', '--quiet', `--alias=${MASTER_KEY}`, `--state=${stateFile}`], {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  const ended = once(child, 'exit');
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  const url = /"url":"([^"]+)"/.exec(String(line))?.[1];
  if (url === undefined) throw new Error(`the embedded KMS did not say where it listens: ${line}`);
  const { accessKeyId, secretAccessKey } = TEST_ACCESS_KEY;
  const client = new KMSClient({ endpoint: url, region: 'us-east-1', credentials: { accessKeyId, secretAccessKey } });
  return {
    url,
    async wrap(bytes) {
      const { CiphertextBlob } = await client.send(new EncryptCommand({ KeyId: MASTER_KEY, Plaintext: bytes }));
      if (CiphertextBlob === undefined) throw new Error('the embedded KMS answered without a wrapped key');
      return CiphertextBlob;
    },
    async close() {
      client.destroy();
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** Differences from Debian's files; paths are relative to the roots. */
interface Changes {
  readonly texts: Map<string, string>;
  /** Plain key files, which become directories. */
  readonly keyFiles: Map<string, string>;
  /** Names that are left out. */
  readonly without: Set<string>;
}

function collectChanges(root: string, settings: readonly string[], isMocked: boolean): Changes {
  const originals = filesWith(CONCERNS_US, join(root, SUITE), root);
  const keyFiles = new Map(
    [...filesWith(/^\d+;[0-9A-F]{32}/m, join(root, SUITE, 'std_data'), root)].filter(([path]) => path.endsWith('.txt')),
  );
  const encrypted = join(SUITE, 'suite/mariabackup/filekeys-data.enc');
  keyFiles.set(encrypted, decryptKeyFile(join(root, encrypted)));
  const newKeyIds = keysOf(keyFiles.get(join(SUITE, 'std_data/keys.txt')) ?? '').map(({ id }) => id);
  const texts = new Map<string, string>();
  for (const [path, original] of originals) {
    const { text, keyFiles: inline } = translate(path, original, newKeyIds.join(','));
    texts.set(translatePath(path), text);
    const stored = storedKeysOnly(translatePath(path), text);
    texts.set(stored.path, stored.text);
    for (const [name, content] of inline) keyFiles.set(join(SUITE, 'std_data', name), content);
  }
  const defaults = join(SUITE, 'include/default_mysqld.cnf');
  const forAll = settings.map((setting) => `loose-aws-key-management-${setting}`).join('\n');
  texts.set(defaults, readFileSync(join(root, defaults), 'latin1').replace('[mysqld]\n', `[mysqld]\n${forAll}\n`));
  const warnings = join(SUITE, 'include/mtr_warnings.sql');
  const insert = 'INSERT INTO global_suppressions VALUES\n';
  const expected = [MAKES_CTR, ...(isMocked ? [MOCK_MODE] : [])].map((pattern) => ` ("${pattern}"),\n`).join('');
  texts.set(warnings, readFileSync(join(root, warnings), 'latin1').replace(insert, `${insert}${expected}`));
  const without = new Set([...originals.keys(), ...texts.keys(), ...keyFiles.keys()]);
  for (const name of [`${PLUGIN}.so`, `${PLUGIN}_agent`]) without.add(join(PLUGINS, name));
  return { texts, keyFiles, without };
}

function decryptKeyFile(path: string): string {
  const key = join(dirname(path), `${basename(path, '.enc')}.key`);
  return execFileSync('openssl', ['enc', '-d', '-aes-256-cbc', '-md', 'sha1', '-pass', `file:${key}`, '-in', path], {
    encoding: 'latin1',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}

async function makeTree(tree: string, changes: Changes, kms: Kms, mockState: string | undefined): Promise<void> {
  // The expected results that patch(1) changes must not be links.
  linkTree(ROOTS, tree, changes.without, (path) => extname(path) === '.result');
  for (const [path, text] of changes.texts) writeFileSync(join(tree, path), text, 'latin1');
  for (const name of [`${PLUGIN}.so`, `${PLUGIN}_agent`])
    copyFileSync(join(PLUGIN_DIRECTORY, name), join(tree, PLUGINS, name));
  for (const [path, content] of changes.keyFiles) {
    const directory = join(tree, path);
    mkdirSync(directory);
    for (const { id, bytes } of keysOf(content))
      writeFileSync(join(directory, `aws-kms-key.${id}.1`), await kms.wrap(bytes));
    if (mockState !== undefined) copyFileSync(mockState, join(directory, MOCK_STATE_FILE));
    own(directory);
  }
}

/** The tests that ask for the plugin, by mtr's names. */
function testsThatConcernUs(tree: string, changed: Iterable<string>): string[] {
  const tests = new Set<string>();
  for (const suite of WHOLE_SUITES)
    for (const file of testFiles(join(tree, SUITE, 'suite', suite))) tests.add(`${suite}.${file}`);
  for (const path of changed) {
    if (!path.startsWith(join(SUITE, 'suite'))) continue;
    const directory = dirname(path);
    const name = basename(path, extname(path)).replace(/-(?:master|slave)$/, '');
    if (!existsSync(join(tree, directory, `${name}.test`))) continue;
    const suite = basename(basename(directory) === 't' ? dirname(directory) : directory);
    tests.add(`${suite}.${name}`);
  }
  return [...tests].filter((test) => !LEFT_OUT.some((pattern) => pattern.test(test))).sort();
}

function testFiles(suite: string): string[] {
  const directory = existsSync(join(suite, 't')) ? join(suite, 't') : suite;
  return readdirSync(directory)
    .filter((file) => extname(file) === '.test')
    .map((file) => basename(file, '.test'));
}

function own(path: string): void {
  if (UNPRIVILEGED.uid === undefined) return;
  chownSync(path, UNPRIVILEGED.uid, UNPRIVILEGED.gid);
  for (const name of readdirSync(path)) chownSync(join(path, name), UNPRIVILEGED.uid, UNPRIVILEGED.gid);
}

const counts = { pass: 0, fail: 0, skipped: 0 };

/** Runs mtr, in a process group of its own so that Ctrl-C reaches it through us only. */
async function runTests(work: string, parallel: string, tests: readonly string[]): Promise<void> {
  const child = spawn(
    'perl',
    [
      'mariadb-test-run.pl',
      '--force',
      '--max-test-fail=0',
      '--retry=0',
      '--testcase-timeout=5',
      '--suite-timeout=120',
      `--vardir=${join(work, RUN, 'var')}`,
      `--parallel=${parallel}`,
      ...tests,
    ],
    {
      cwd: join(work, 'usr', SUITE),
      env: { PATH: process.env['PATH'], HOME: work, LC_ALL: 'C', ...TEST_CREDENTIALS },
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
      ...UNPRIVILEGED,
    },
  );
  mtr = child;
  const exited = once(child, 'close');
  for await (const line of createInterface({ input: child.stdout })) {
    console.log(line);
    const outcome = /\[ (pass|fail|skipped) \]/.exec(line)?.[1];
    if (outcome === 'pass' || outcome === 'fail' || outcome === 'skipped') counts[outcome] += 1;
  }
  const [status] = await exited;
  // A run that crashed or ran no test has failed, whatever it printed.
  if (counts.fail === 0 && (status !== 0 || counts.pass === 0)) counts.fail = 1;
}

/** Ends processes that mtr left behind: those with the name of our directory in their command line. */
async function endLeftovers(work: string): Promise<void> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const pids = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && commandLine(pid).includes(work));
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // The process has ended meanwhile.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}

let interrupted = false;
let mtr: ChildProcess | undefined;
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    interrupted = true;
    if (mtr?.pid !== undefined) process.kill(-mtr.pid, 'SIGKILL');
    if (mtr !== undefined) void endLeftovers(work);
  });
const { values, positionals } = parseArgs({
  options: {
    mock: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    parallel: { type: 'string', default: '2' },
  },
  allowPositionals: true,
});
const root = ROOTS.find((each) => existsSync(join(each, SUITE))) ?? '/usr';
const work = mkdtempSync(join(tmpdir(), 'mak-suite-'));
chmodSync(work, 0o755);
mkdirSync(join(work, RUN));
own(join(work, RUN));
const stateFile = join(work, 'kms.json');
const kms = await startKms(stateFile);
try {
  const changes = collectChanges(
    root,
    [
      `master-key-id=${MASTER_KEY}`,
      values.mock ? 'mock=ON' : `endpoint-url=${kms.url}`,
      // As with a key file, only the stored keys are allowed; where a test creates keys, its options name them.
      'key-ids=4294967295',
    ],
    values.mock,
  );
  const tree = join(work, 'usr');
  await makeTree(tree, changes, kms, values.mock ? stateFile : undefined);
  const chosen = positionals.map((test) => (test.includes('.') ? test : `encryption.${test}`));
  const tests = chosen.length > 0 ? chosen : values.quick ? QUICK : testsThatConcernUs(tree, changes.texts.keys());
  if (!interrupted) await runTests(work, values.parallel, tests);
} finally {
  await kms.close();
  await endLeftovers(work);
  if (values.keep) console.log(`kept: ${work}`);
  else rmSync(work, { recursive: true, force: true, maxRetries: 5 });
}
console.log(`${counts.pass} passed, ${counts.fail} failed, ${counts.skipped} skipped`);
process.exitCode = interrupted ? 130 : counts.fail === 0 ? 0 : 1;
