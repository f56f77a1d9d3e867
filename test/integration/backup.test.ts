/** Physical backups of a server that is written to and rotates, restored where the original never was. */
import { execFile, execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  COMMAND,
  EVERYTHING_ENCRYPTED,
  PATH,
  PLUGIN_DIRECTORY,
  pluginOptions,
  type Row,
  ScratchServer,
  TEST_CREDENTIALS,
} from '../../harness/scratch-server.ts';
import { MANIFEST_FILE } from '../../src/format/manifest.ts';
import { keyFiles, newServer, operations, startKms } from '../support/lab.ts';
import { backUp, mariadbBackup, prepare } from '../support/mariadb-backup.ts';
import { cleanUp, scratchDirectory } from '../support/scratch.ts';

/** `npm run test:backup` makes more of them. */
const INCREMENTALS = Number(process.env['BACKUP_INCREMENTALS'] ?? '1');
/** A user without root's rights that every Debian has; servers may run as it. */
const OTHER_USER = 'backup';

const TABLES = ['d.innodb_own_key', 'd.innodb_default', 'd.aria'];

async function createTables(server: ScratchServer): Promise<void> {
  await server.sql('CREATE DATABASE d');
  const columns = 'id INT PRIMARY KEY AUTO_INCREMENT, round INT, text VARCHAR(255)';
  await server.sql(`CREATE TABLE d.innodb_own_key (${columns}) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3`);
  await server.sql(`CREATE TABLE d.innodb_default (${columns}) ENGINE=InnoDB`);
  await server.sql(`CREATE TABLE d.aria (${columns}) ENGINE=Aria TRANSACTIONAL=1`);
}

/** Writes to every table until it is told to stop; resolves with the number of rounds. */
function startWriting(server: ScratchServer): () => Promise<number> {
  let isOver = false;
  let rounds = 0;
  const writing = (async () => {
    const connection = await server.connect();
    while (!isOver) {
      rounds += 1;
      for (const table of TABLES) {
        await connection.query(`INSERT INTO ${table} (round, text) VALUES (?, REPEAT(UUID(), 6))`, [rounds]);
      }
      if (rounds % 100 === 0) await connection.query('SET GLOBAL aws_key_management_rotate_key=-1');
    }
    await connection.end();
  })();
  writing.catch(() => undefined);
  return async () => {
    isOver = true;
    await writing;
    return rounds;
  };
}

/** The rows of all tables up to a round that the backup certainly contains. */
async function contents(server: ScratchServer, round: number): Promise<readonly Row[]> {
  const found: Row[] = [];
  for (const table of TABLES) {
    found.push(
      ...(await server.sql(
        `SELECT COUNT(*) AS n, MAX(id) AS last, SUM(CRC32(CONCAT(id, round, text))) AS crc FROM ${table} WHERE round <= ${round}`,
      )),
    );
  }
  return found;
}

async function command(...args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = { PATH, ...TEST_CREDENTIALS, AWS_EC2_METADATA_DISABLED: 'true' };
  return await new Promise((resolve) => {
    execFile(COMMAND, [...args], { env, encoding: 'utf8' }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

interface Place {
  readonly keys: 'data directory' | 'directory of their own';
  /** The user that server and backup run as. */
  readonly user: 'root' | typeof OTHER_USER;
}

it.each<Place>([
  { keys: 'data directory', user: 'root' },
  { keys: 'directory of their own', user: OTHER_USER },
])('backups under load restore all rows, keys in the $keys, run by $user', async ({ keys, user }) => {
  const isOwn = keys === 'directory of their own';
  const kms = await startKms();
  const home = scratchDirectory();
  chmodSync(home, 0o755);
  const place = (name: string): string => join(home, name);
  for (const name of ['backups', 'keys']) mkdirSync(place(name));
  if (user !== 'root') execFileSync('chown', [`${user}:`, place('backups'), place('keys')]);
  const keyfileDir = isOwn ? { aws_key_management_keyfile_dir: place('keys') } : {};
  const server = newServer(pluginOptions(kms.url, { ...EVERYTHING_ENCRYPTED, ...keyfileDir }), {
    directory: place('original'),
    user,
  });
  await server.start();
  await createTables(server);
  // mariadb-backup runs as the server's own user, without other rights.
  const asUser = user === 'root' ? [] : ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups'];
  const [program = 'mariadb-backup', ...first] = [...asUser, 'mariadb-backup'];
  const tool = { command: [program, ...first] as const, cwd: place('backups') };
  const stopWriting = startWriting(server);
  const full = place('backups/full');
  const printed = [await backUp(server, full, tool)];
  const steps = [full];
  let certain: readonly Row[] = [];
  let round = 0;
  for (let number = 1; number <= INCREMENTALS; number += 1) {
    // A key that the full backup does not know, and new versions of those that it knows.
    await server.sql(
      `CREATE TABLE d.late_${number} (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${10 + number}`,
    );
    await server.sql(`INSERT INTO d.late_${number} VALUES (${number})`);
    await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
    round = Number((await server.sql('SELECT MAX(round) AS round FROM d.aria'))[0]?.['round']);
    expect(round).toBeGreaterThan(0);
    certain = await contents(server, round);
    const target = place(`backups/incremental-${number}`);
    printed.push(await backUp(server, target, tool, `--incremental-basedir=${steps.at(-1)}`));
    steps.push(target);
  }
  expect(await stopWriting()).toBeGreaterThan(20);
  for (const output of printed) {
    expect(output).toContain('completed OK!');
    const warning = `THIS BACKUP HOLDS NO KEYS, and without them nobody can restore it; when it is done, add them: mariadb-aws-kms backup-keys --keyfile-dir ${place('keys')} --to DIRECTORY`;
    if (isOwn) expect(output).toMatch(new RegExp(`\\[Warning\\] mariadb-backup: AWS KMS plugin: ${warning}`));
    else expect(output).not.toContain('HOLDS NO KEYS');
  }
  await server.stop();

  const keyBackup = isOwn ? place('key-backup') : (steps.at(-1) ?? '');
  const from = isOwn ? place('keys') : server.datadir;
  const copied = await command('backup-keys', '--keyfile-dir', from, '--to', keyBackup);
  expect(copied).toMatchObject({ code: 0, stderr: '' });
  const verified = await command('verify-backup', keyBackup, '--no-defaults', '--endpoint-url', kms.url);
  expect(verified.stdout + verified.stderr).toContain('all there and unchanged, and KMS opens each');
  const keysThere = keyFiles(from);

  // The original data directory is moved away.
  renameSync(server.datadir, place('gone'));
  rmSync(place('gone'), { recursive: true });
  rmSync(place('keys'), { recursive: true });
  kms.calls.clear();

  const restoredKeys = place('restored-keys');
  if (isOwn) {
    execFileSync('install', ['-d', '-o', user, '-g', user, '-m', '0750', restoredKeys]);
    const files = keyFiles(keyBackup)
      .filter((file) => file !== MANIFEST_FILE)
      .map((file) => join(keyBackup, file));
    execFileSync('install', ['-o', user, '-g', user, '-m', '0600', ...files, restoredKeys]);
    const options = join(full, 'backup-my.cnf');
    const line = /^(aws_key_management_keyfile_dir=).*$/m;
    writeFileSync(options, readFileSync(options, 'utf8').replace(line, `$1${restoredKeys}`));
  }
  expect(await prepare(full, tool)).toContain('completed OK!');
  for (const step of steps.slice(1)) {
    // A relative path, resolved in the directory that mariadb-backup is started from.
    const name = step.slice(place('backups/').length);
    expect(await prepare(full, tool, `--incremental-dir=${isOwn ? step : name}`)).toContain('completed OK!');
  }
  expect(operations(kms).every((operation) => operation === 'Decrypt')).toBe(true);

  const restored = new ScratchServer({
    directory: place('restored'),
    options: { ...server.options, ...(isOwn ? { aws_key_management_keyfile_dir: restoredKeys } : {}) },
    user,
  });
  cleanUp(() => restored.kill());
  for (const name of ['', 'data', 'tmp']) mkdirSync(join(restored.directory, name));
  await mariadbBackup(['--no-defaults', '--copy-back', `--target-dir=${full}`, `--datadir=${restored.datadir}`]);
  if (user !== 'root') execFileSync('chown', ['-R', `${user}:`, restored.directory]);
  await restored.start();
  expect(keyFiles(isOwn ? restoredKeys : restored.datadir).filter((file) => file !== MANIFEST_FILE)).toEqual(keysThere);
  expect(await contents(restored, round)).toEqual(certain);
  for (let number = 1; number <= INCREMENTALS; number += 1) {
    expect(await restored.sql(`SELECT i FROM d.late_${number}`)).toEqual([{ i: number }]);
  }
  await restored.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  for (const table of TABLES) expect(await restored.sql(`CHECK TABLE ${table}`)).toMatchObject([{ Msg_text: 'OK' }]);
});

it('backup-keys without a key file succeeds only when no data of the server is encrypted', async () => {
  const kms = await startKms();
  const server = newServer(pluginOptions(kms.url, { innodb_encrypt_tables: 'ON' }));
  const file = join(server.directory, 'my.cnf');
  const write = (datadir: string) => writeFileSync(file, `[mariadb]\ndatadir = ${datadir}\nuser = root\n`);
  const backupKeys = async () =>
    await command('backup-keys', `--defaults-file=${file}`, '--to', join(server.directory, 'copy'));
  write(server.datadir);
  const plain = await backupKeys();
  expect(plain).toMatchObject({ code: 0, stdout: expect.stringContaining(': 0 keys, 0 versions; ') });
  expect(plain.stderr).toMatch(/note: no key is needed: none of the \d+ data files of .* is encrypted\n/);
  const verified = await command('verify-backup', '--no-defaults', '--no-kms', join(server.directory, 'copy'));
  expect(verified).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/no key is needed: none of \d+ data files was/),
  });

  // An incomplete restore proves nothing, and leaves nothing behind that looks like a backup.
  const half = join(server.directory, 'half');
  cpSync(server.datadir, half, { recursive: true });
  for (const put of [
    () => writeFileSync(join(half, 'ibdata1'), ''),
    () => symlinkSync('nowhere', join(half, 'ibdata1')),
  ]) {
    rmSync(join(half, 'ibdata1'));
    put();
    write(half);
    const other = await command('backup-keys', `--defaults-file=${file}`, '--to', join(server.directory, 'other'));
    expect([other.code, other.stderr]).toEqual([1, expect.stringContaining(`there is no key file in ${half}`)]);
    expect(existsSync(join(server.directory, 'other'))).toBe(false);
  }

  const empty = join(server.directory, 'not-mounted');
  mkdirSync(empty);
  write(empty);
  const nothing = await backupKeys();
  expect([nothing.code, nothing.stderr]).toEqual([1, expect.stringContaining(`there is no key file in ${empty}`)]);

  await server.start();
  await server.sql('CREATE TABLE mysql.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  await server.stop();
  for (const name of keyFiles(server.datadir)) renameSync(join(server.datadir, name), join(empty, name));
  write(server.datadir);
  const lost = await backupKeys();
  expect([lost.code, lost.stderr]).toEqual([1, expect.stringContaining(`there is no key file in ${server.datadir}`)]);
});

it("backup-keys reads the server's option files, and verify-backup finds damage", async () => {
  const kms = await startKms();
  const server = newServer(pluginOptions(kms.url, { innodb_encrypt_tables: 'ON' }));
  await server.start();
  await server.sql('CREATE TABLE mysql.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  const file = join(server.directory, 'my.cnf');
  const options = { ...server.options, datadir: server.datadir, plugin_dir: PLUGIN_DIRECTORY, user: 'root' };
  writeFileSync(
    file,
    `[mariadb]\n${Object.entries(options)
      .map(([name, value]) => `${name} = ${value}\n`)
      .join('')}`,
  );
  const to = join(server.directory, 'copy');
  const optionFile = `--defaults-file=${file}`;
  const backupKeys = async () => await command('backup-keys', optionFile, '--to', to);
  const verify = async (...more: string[]) => await command('verify-backup', optionFile, ...more, to);

  expect(await backupKeys()).toMatchObject({
    code: 0,
    stdout: `${to}: 2 keys, 2 versions; 4 files added from ${server.datadir}\n`,
  });
  expect(await backupKeys()).toMatchObject({ code: 0, stdout: expect.stringContaining('; 0 files added') });
  await server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  expect(await backupKeys()).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('2 keys, 4 versions; 4 files added'),
  });
  expect(readdirSync(to).sort()).toEqual([...keyFiles(server.datadir), MANIFEST_FILE]);
  expect(await verify()).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse((await verify('--json')).stdout)).toMatchObject({
    directory: to,
    ok: true,
    unwrapped: true,
    keys: expect.arrayContaining([
      { keyId: 3, keyVersion: 2, masterKeyArn: kms.keyArns[0], encryptionAlgorithm: 'AES_CBC' },
    ]),
    problems: [],
  });

  kms.faults.set([{ kind: 'error', name: 'DisabledException', status: 400, message: 'it is disabled' }]);
  const disabled = await verify();
  expect(disabled).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/keys 1 and 3 versions 1-2: .*DisabledException/),
  });
  expect(await verify('--no-kms')).toMatchObject({ code: 0, stdout: expect.stringContaining('KMS was not asked') });
  kms.faults.clear();

  const victim = join(to, 'aws-kms-key.3.1');
  chmodSync(victim, 0o600);
  appendFileSync(victim, 'x');
  const changed = await verify();
  expect(changed.code).toBe(1);
  expect(changed.stderr).toMatch(/key 3 version 1: aws-kms-key\.3\.1: its SHA-256 is [0-9a-f]{64}, the manifest says/);
  expect(await backupKeys()).toMatchObject({ code: 1, stderr: expect.stringContaining('its SHA-256 is') });
  rmSync(victim);
  expect((await verify()).stderr).toContain('key 3 version 1: aws-kms-key.3.1 is gone');
  expect(await command('verify-backup', '--no-kms', server.datadir)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('there is no manifest mariadb-aws-kms-keys.json'),
  });
  expect(await command('verify-backup')).toMatchObject({ code: 2 });
});
