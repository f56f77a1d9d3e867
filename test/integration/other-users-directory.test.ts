/** Commands that root runs in directories of another user, who puts links and other files in their way. */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { COMMAND, PATH, TEST_CREDENTIALS } from '../../harness/scratch-server.ts';
import { formatManifest, MANIFEST_FILE } from '../../src/format/manifest.ts';
import { MASTER_KEY, startKms, startServer } from '../support/lab.ts';
import { scratchDirectory } from '../support/scratch.ts';

const USER = 'nobody';
const LOCK = 'aws-kms-rewrap-lock';
const NEXT = 'alias/next';
const THEN = '2030-01-01T00:00:00.000Z';
const SECRET = 'only root may read this';
let home: string;
let keys: string;
let copy: string;

beforeEach(() => {
  if (process.getuid?.() !== 0) throw new Error('only root can act as another user: run these tests as root');
  home = scratchDirectory();
  chmodSync(home, 0o755);
  keys = join(home, 'keys');
  copy = join(home, 'copy');
  mkdirSync(keys);
  mkdirSync(join(home, 'roots'), { mode: 0o700 });
  writeFileSync(join(home, 'roots/secret'), SECRET, { mode: 0o600 });
  give(keys);
});

function give(path: string): void {
  execFileSync('chown', ['-h', `${USER}:`, path]);
}

function putKey(name: string, text = `wrapped ${name}`): void {
  writeFileSync(join(keys, name), text, { mode: 0o600 });
  give(join(keys, name));
}

interface Ended {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

async function command(...args: readonly string[]): Promise<Ended> {
  const env = { PATH, ...TEST_CREDENTIALS, AWS_EC2_METADATA_DISABLED: 'true' };
  return await new Promise((resolve) => {
    // A hanging command is killed; its code then shows that.
    execFile(COMMAND, [...args], { env, encoding: 'utf8', timeout: 100_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? 'killed'), stdout, stderr });
    });
  });
}

function copied(): readonly string[] {
  return existsSync(copy) ? readdirSync(copy).filter((name) => name.startsWith('aws-kms-key.')) : [];
}

it.each<[string, (path: string) => void]>([
  ['a link', (path) => symlinkSync(join(home, 'roots/secret'), path)],
  ['a second name', (path) => linkSync(join(home, 'roots/secret'), path)],
])("backup-keys copies no file that the directory's owner may not read, through %s", async (_, put) => {
  putKey('aws-kms-key.1.1');
  put(join(keys, 'aws-kms-key.77.1'));
  put(join(keys, 'aws-kms-key.1.1.json'));
  const { code, stderr } = await command('backup-keys', '--keyfile-dir', keys, '--to', copy);
  expect(code).toBe(1);
  for (const name of ['aws-kms-key.77.1', 'aws-kms-key.1.1.json']) {
    expect(stderr).toMatch(new RegExp(`cannot read ${name} in ${keys}: EACCES: .*\\(as user 65534\\)$`, 'm'));
  }
  expect(copied()).toEqual([]);
  expect(execFileSync('grep', ['-rlc', SECRET, home], { encoding: 'utf8' }).trim().split('\n')).not.toContain(copy);
});

it('backup-keys follows no directory link that the owner put in place of the keys', async () => {
  putKey('aws-kms-key.1.1');
  renameSync(keys, join(home, 'roots/of-another-server'));
  const theirs = join(home, 'theirs');
  mkdirSync(theirs);
  symlinkSync(join(home, 'roots/of-another-server'), join(theirs, 'keys'));
  give(theirs);
  const { code, stderr } = await command('backup-keys', '--keyfile-dir', join(theirs, 'keys'), '--to', copy);
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /^mariadb-aws-kms: error: cannot list the key directory \S+theirs\/keys: EACCES: .*user 65534/,
  );
  expect(copied()).toEqual([]);
});

it("backup-keys follows safe links: to the owner's files, and root's own in a directory of root", async () => {
  putKey('aws-kms-key.1.1');
  const elsewhere = join(home, 'elsewhere');
  mkdirSync(elsewhere);
  renameSync(join(keys, 'aws-kms-key.1.1'), join(elsewhere, 'key'));
  symlinkSync('../elsewhere/key', join(keys, 'aws-kms-key.1.1'));
  give(join(keys, 'aws-kms-key.1.1'));
  expect(await command('backup-keys', '--keyfile-dir', keys, '--to', copy)).toMatchObject({ code: 0, stderr: '' });
  expect(lstatSync(join(copy, 'aws-kms-key.1.1')).isFile()).toBe(true);

  // As Kubernetes mounts a secret: sticky, everybody may write, and each file a link through a link.
  const mounted = join(home, 'mounted');
  mkdirSync(join(mounted, '..2030'), { recursive: true });
  chmodSync(mounted, 0o1777);
  writeFileSync(join(mounted, '..2030/aws-kms-key.1.1'), 'wrapped', { mode: 0o644 });
  symlinkSync('..2030', join(mounted, '..data'));
  symlinkSync('..data/aws-kms-key.1.1', join(mounted, 'aws-kms-key.1.1'));
  const second = await command('backup-keys', '--keyfile-dir', mounted, '--to', join(home, 'second'));
  expect(second).toMatchObject({ code: 0, stderr: '' });
  expect(readFileSync(join(home, 'second/aws-kms-key.1.1'), 'utf8')).toBe('wrapped');
});

it("backup-keys does not follow a link that another user put into a sticky directory of root's", async () => {
  const mounted = join(home, 'mounted');
  mkdirSync(mounted);
  chmodSync(mounted, 0o1777);
  writeFileSync(join(mounted, 'aws-kms-key.1.1'), 'wrapped');
  symlinkSync(join(home, 'roots/secret'), join(mounted, 'aws-kms-key.77.1'));
  give(join(mounted, 'aws-kms-key.77.1'));
  const { code, stderr } = await command('backup-keys', '--keyfile-dir', mounted, '--to', copy);
  expect([code, stderr]).toEqual([1, expect.stringMatching(/cannot read aws-kms-key\.77\.1 in \S+mounted: ELOOP/)]);
  expect(copied()).toEqual(['aws-kms-key.1.1']);
});

it('backup-keys refuses a directory that others can replace, and prints a fix that works', async () => {
  const shared = join(home, 'shared');
  mkdirSync(join(shared, 'keys'), { recursive: true });
  chmodSync(shared, 0o777);
  writeFileSync(join(shared, 'keys/aws-kms-key.1.1'), 'wrapped');
  const backUp = async () => await command('backup-keys', '--keyfile-dir', join(shared, 'keys'), '--to', copy);
  expect(await backUp()).toEqual({
    code: 1,
    stdout: '',
    stderr: `mariadb-aws-kms: error: others may rename ${shared}/keys, and put what they like in its place: they may write ${shared}\nhint: chmod go-w ${shared}\n`,
  });
  execFileSync('chmod', ['go-w', shared]);
  expect(await backUp()).toMatchObject({ code: 0, stderr: '' });
});

it("a backup in another user's directory belongs to that user, and nothing is written through their links", async () => {
  putKey('aws-kms-key.1.1');
  mkdirSync(copy);
  give(copy);
  symlinkSync(join(home, 'roots'), join(home, 'theirs'));
  lchownSync(join(home, 'theirs'), 65_534, 65_534);
  const to = join(home, 'theirs');
  const refused = await command('backup-keys', '--keyfile-dir', keys, '--to', to);
  expect(refused.stderr).toContain('EACCES');
  expect([refused.code, readdirSync(join(home, 'roots'))]).toEqual([1, ['secret']]);
  expect(await command('backup-keys', '--keyfile-dir', keys, '--to', copy)).toMatchObject({ code: 0, stderr: '' });
  expect(statSync(join(copy, 'aws-kms-key.1.1')).uid).toBe(65_534);
  expect(await command('verify-backup', copy, '--no-kms')).toMatchObject({ code: 0, stderr: '' });
  // A manifest of root's in its place.
  rmSync(join(copy, 'mariadb-aws-kms-keys.json'));
  symlinkSync(join(home, 'roots/secret'), join(copy, 'mariadb-aws-kms-keys.json'));
  const { code, stderr } = await command('verify-backup', copy, '--no-kms');
  expect([code, stderr]).toEqual([1, expect.stringContaining('EACCES: permission denied')]);
  expect(stderr).not.toContain(SECRET);
});

it("rewrap acts as the directory's owner, undisturbed by a link or a FIFO in place of its lock", async () => {
  const kms = await startKms({ aliases: [MASTER_KEY, NEXT] });
  const server = await startServer(kms, { aws_key_management_keyfile_dir: keys }, { user: USER });
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  await server.sql('INSERT INTO d.t VALUES (1)');
  await server.stop();
  const backup = join(home, 'before');
  const places = ['--keyfile-dir', keys, '--backup', backup, '--audit-log', join(home, 'audit.log')];
  const options = ['--no-defaults', '--endpoint-url', kms.url, '--to', NEXT, ...places];
  for (const put of [
    (path: string) => symlinkSync(join(home, 'roots/secret'), path),
    (path: string) => execFileSync('mkfifo', [path]),
  ]) {
    put(join(keys, LOCK));
    give(join(keys, LOCK));
    const { code, stderr } = await command('rewrap', ...options);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/aws-kms-rewrap-lock .*(?:EACCES|not a regular file)/)]);
    rmSync(join(keys, LOCK));
  }
  expect(readFileSync(join(home, 'roots/secret'), 'utf8')).toBe(SECRET);
  expect(existsSync(backup)).toBe(false);
  const moved = await command('rewrap', ...options);
  expect(moved).toMatchObject({ code: 0, stdout: expect.stringMatching(/ moved to .*\nas they were: /) });
  for (const name of readdirSync(keys)) expect(statSync(join(keys, name)).uid, name).toBe(65_534);
  // Files from before the run belong to the user who created them.
  for (const name of readdirSync(backup)) expect(statSync(join(backup, name)).uid).toBe(0);
  await server.start();
  expect(await server.sql('SELECT i FROM d.t')).toMatchObject([{ i: 1 }]);
});

it('rewrap moves files whose group the owner is not in, unless the group may read them; a dry run tells', async () => {
  const kms = await startKms({ aliases: [MASTER_KEY, NEXT] });
  const server = await startServer(kms, { aws_key_management_keyfile_dir: keys }, { user: USER });
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  await server.stop();
  const files = readdirSync(keys).map((name) => join(keys, name));
  execFileSync('chgrp', ['daemon', keys, ...files]);
  chmodSync(keys, 0o700);
  const places = ['--keyfile-dir', keys, '--backup', copy, '--audit-log', join(home, 'audit.log')];
  const options = ['--no-defaults', '--endpoint-url', kms.url, '--to', NEXT, ...places];
  for (const file of files) chmodSync(file, 0o640);
  for (const more of [['--dry-run'], []]) {
    const { code, stderr } = await command('rewrap', ...options, ...more);
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(
        /^mariadb-aws-kms: error: not moved: \S+keys: a new file, of 65534:65534, cannot take over owner 65534:1 and mode 0640 of the old one.*\nhint: the key files need no permissions of a group: chmod g= \S+keys\/aws-kms-key\.\*\n/m,
      ),
    ]);
  }
  expect(readdirSync(keys).map((name) => join(keys, name))).toEqual(files);
  execFileSync('sh', ['-c', `chmod g= ${keys}/aws-kms-key.*`]);
  const dry = await command('rewrap', ...options, '--dry-run');
  expect(dry).toMatchObject({ code: 0, stderr: expect.not.stringContaining('error') });
  expect(await command('rewrap', ...options)).toMatchObject({ code: 0, stdout: expect.stringContaining(' moved to ') });
  for (const file of files) expect(statSync(file)).toMatchObject({ uid: 65_534, mode: 0o100600 });
  await server.start();
  expect(await server.sql('SELECT COUNT(*) AS n FROM d.t')).toMatchObject([{ n: expect.anything() }]);
});

it("root that cannot become the directory's owner gets an error that says so", async () => {
  putKey('aws-kms-key.1.1');
  const args = ['--bounding-set=-setuid,-setgid', COMMAND, 'backup-keys', '--keyfile-dir', keys, '--to', copy];
  const ended = spawnSync('setpriv', args, { env: { PATH }, encoding: 'utf8' });
  expect([ended.status, ended.stderr]).toEqual([
    1,
    'mariadb-aws-kms: error: cannot become user 65534: EPERM\nhint: run this as that user\n',
  ]);
});

it.each(['backup-keys', 'rewrap', 'verify-backup'])('%s of nothing is a failure', async (verb) => {
  const kms = await startKms({ aliases: [NEXT] });
  const at = ['--no-defaults', '--endpoint-url', kms.url];
  const none = {
    'backup-keys': ['--keyfile-dir', keys, '--to', copy],
    rewrap: [...at, '--keyfile-dir', keys, '--backup', copy, '--audit-log', join(home, 'audit.log'), '--to', NEXT],
    'verify-backup': [...at, copy],
  };
  if (verb === 'verify-backup') {
    mkdirSync(copy);
    writeFileSync(join(copy, MANIFEST_FILE), formatManifest({ created: THEN, updated: THEN, tool: 'x', keys: [] }));
  }
  const { code, stdout, stderr } = await command(verb, ...none[verb as keyof typeof none]);
  expect([code, stdout]).toEqual([
    1,
    verb === 'verify-backup' ? `${copy}: 0 key versions of ${THEN}: 1 problem\n` : '',
  ]);
  expect(stderr).toContain(
    verb === 'verify-backup' ? `error: the manifest in ${copy} names no key` : `error: there is no key file in ${keys}`,
  );
  expect(stderr).toMatch(/^hint: /m);
});

it('hints name the option that named the directory', async () => {
  const said = async (...args: readonly string[]) => (await command(...args)).stderr;
  expect(await said('verify-backup', '/nowhere')).toBe(
    "mariadb-aws-kms: error: cannot list the backup directory /nowhere: ENOENT: no such file or directory, scandir '/nowhere'\nhint: there is no such directory: correct the directory on the command line\n",
  );
  expect(await said('backup-keys', '--keyfile-dir', '/nowhere', '--to', copy)).toMatch(
    /cannot list the key directory \/nowhere: ENOENT.*\nhint: there is no such directory: correct --keyfile-dir\n$/,
  );
  expect(await said('backup-keys', '--keyfile-dir', keys, '--to', '/nowhere/copy')).toMatch(
    /cannot create the backup directory \/nowhere\/copy: ENOENT.*\nhint: create \/nowhere first, or correct --to\n$/,
  );
  const file = join(home, 'server.cnf');
  writeFileSync(file, '[mysqld]\naws_key_management_keyfile_dir=/nowhere\n');
  expect(await said('backup-keys', '--defaults-file', file, '--datadir', home, '--to', copy)).toMatch(
    /\nhint: there is no such directory: correct aws_key_management_keyfile_dir\n$/,
  );
  writeFileSync(file, '[mysqld]\naws_key_management_agent=unix:/run/x/agent.sock\n');
  for (const verb of ['backup-keys', 'rewrap']) {
    const more = verb === 'rewrap' ? ['--backup', copy, '--to', NEXT] : ['--to', copy];
    const asked = await command(verb, '--defaults-file', file, '--datadir', home, ...more);
    expect(asked.code).toBe(2);
    expect(asked.stderr).toBe(
      "mariadb-aws-kms: error: the keys of this server are where its agent has them, which listens on unix:/run/x/agent.sock\nhint: mariadb-aws-kms-agent.service of this machine does not listen there: name the agent's directory, where it is: --keyfile-dir DIRECTORY\n",
    );
  }
});
