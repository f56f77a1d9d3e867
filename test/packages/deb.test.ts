/** The Debian package that `npm run package -- deb` made, without a server: campaigns/packages.ts installs it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { expectAgentStarts } from '../support/packaged-agent.ts';
import { PACKAGES, TestedPackage } from '../support/tested-package.ts';

const root = join(import.meta.dirname, '../..');
const NAME = 'mariadb-plugin-aws-key-management';
/** needrestart reads this directory alone. */
const NEEDRESTART = `/etc/needrestart/conf.d/${NAME}.conf`;
/** Bytes. */
const LARGEST_DOWNLOAD = 31e6;
/** Bytes: 0.79 of the 151,903,357 that the executable had before there were packages (campaigns/packages/earlier). */
const LARGEST_EXECUTABLE = 120_003_652;
/** Tenths; systemd calls 1.0 to 4.9 "OK". */
const EXPOSURE = '15';

const tested = new TestedPackage('.deb');
const deb = tested.path;
let scratch: string;
let tree: string;

beforeAll(() => {
  scratch = tested.scratch();
  tree = join(scratch, 'tree');
  run('dpkg-deb', '--extract', deb, tree);
});

function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C.UTF-8', TZ: 'UTC' } });
}

it('the package has its files, as root would own them, and none that belongs to the administrator', () => {
  const lines = run('dpkg-deb', '--contents', deb).trim().split('\n');
  const files = lines.map((line) => /^(\S+) (\S+) +\d+ \S+ \S+ \.(.*)$/.exec(line)?.slice(1) ?? [line]);
  const modes = new Map(files.map(([mode = '', , path = '']) => [path, mode]));
  expect(modes.get('/usr/bin/mariadb-aws-kms')).toBe('-rwxr-xr-x');
  expect(modes.get('/usr/lib/mysql/plugin/aws_key_management.so')).toBe('-rw-r--r--');
  expect(modes.get('/usr/lib/mysql/plugin/aws_key_management_agent -> ../../../bin/mariadb-aws-kms')).toBe(
    'lrwxrwxrwx',
  );
  for (const file of ['aws_key_management.cnf', 'mariadb-aws-kms.conf'])
    expect(modes.get(`/usr/share/mariadb-aws-kms/${file}`), file).toBe('-rw-r--r--');
  for (const file of ['NEWS.Debian.gz', 'changelog.gz', 'copyright'])
    expect(modes.get(`/usr/share/doc/${NAME}/${file}`), file).toBe('-rw-r--r--');
  const strangers = [...modes.keys()].filter((path) => !/^\/(?:usr\/|lib\/(?:systemd\/|$)|usr$|$)/.test(path));
  expect(strangers.filter((path) => !path.endsWith('/'))).toEqual([NEEDRESTART]);
  expect(strangers.filter((path) => path.startsWith('/etc/mysql'))).toEqual([]);
  expect(new Set(files.map(([, owner]) => owner))).toEqual(new Set(['root/root']));
  expect(new Set(files.map(([mode = '']) => mode))).toEqual(
    new Set(['drwxr-xr-x', '-rw-r--r--', '-rwxr-xr-x', 'lrwxrwxrwx']),
  );
});

it('the package asks for a server and the libraries of its executable, and configures needrestart alone', () => {
  const depends = run('dpkg-deb', '--field', deb, 'Depends');
  expect(depends).toMatch(/^mariadb-server \(>= 1:10\.11\) \| mariadb-server-core /);
  for (const library of ['libatomic1', 'libstdc\\+\\+6', 'libc6 \\(>= 2\\.34\\)', 'adduser'])
    expect(depends).toMatch(new RegExp(`, ${library}\\b`.replace('\\)\\b', '\\)')));
  expect(run('dpkg-deb', '--info', deb, 'conffiles').trim()).toBe(NEEDRESTART);
});

it('the download is small enough', () => {
  expect(statSync(deb).size).toBeLessThanOrEqual(LARGEST_DOWNLOAD);
});

it('the installed executable is small enough', () => {
  expect(statSync(join(tree, 'usr/bin/mariadb-aws-kms')).size).toBeLessThanOrEqual(LARGEST_EXECUTABLE);
});

it('the command in the package starts and says its version', () => {
  expect(run(join(tree, 'usr/bin/mariadb-aws-kms'), '--version')).toMatch(new RegExp(`^${manifest.version}\\b`));
});

it('the agent in the package starts by the path that the plugin uses', async () => {
  await expectAgentStarts(join(tree, 'usr/lib/mysql/plugin/aws_key_management_agent'), scratch);
});

it('lintian has nothing to say', () => {
  const { stdout, status } = spawnSync('lintian', ['--allow-root', '--tag-display-limit', '0', deb], {
    encoding: 'utf8',
  });
  expect(stdout).toBe('');
  expect(status).toBe(0);
});

it('systemd understands the unit of the agent and finds little exposed', () => {
  const [unit = ''] = readdirSync(tree, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('/mariadb-aws-kms-agent.service'),
  );
  const text = readFileSync(join(tree, unit), 'utf8');
  const copy = join(scratch, 'mariadb-aws-kms-agent.service');
  // The command is not installed here.
  writeFileSync(copy, text.replace('/usr/bin/mariadb-aws-kms agent', `${tree}/usr/bin/mariadb-aws-kms agent`));
  const verified = spawnSync('systemd-analyze', ['verify', '--man=no', copy], { encoding: 'utf8' });
  expect({ status: verified.status, said: verified.stderr }).toEqual({ status: 0, said: '' });
  const security = ['security', '--no-pager', '--offline=true', `--threshold=${EXPOSURE}`, copy];
  const judged = spawnSync('systemd-analyze', security, { encoding: 'utf8' });
  expect(judged.status, judged.stdout).toBe(0);
});

it('a signed repository of the package is one that apt takes it from', () => {
  const home = join(scratch, 'gnupg');
  const state = join(scratch, 'apt');
  const repository = join(scratch, 'repository');
  for (const directory of [home, join(state, 'lists/partial'), join(state, 'cache/archives/partial')])
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  const env = { ...process.env, GNUPGHOME: home, SIGNING_KEY: 'packages@example.org' };
  try {
    const key = [
      '--batch',
      '--passphrase',
      '',
      '--quick-generate-key',
      'packages@example.org',
      'ed25519',
      'sign',
      '1d',
    ];
    execFileSync('gpg', key, { env, stdio: 'ignore' });
    execFileSync('sh', [join(root, 'scripts/apt-repository.sh'), repository, PACKAGES], { env, stdio: 'ignore' });
  } finally {
    spawnSync('gpgconf', ['--kill', 'all'], { env });
  }
  writeFileSync(
    join(state, 'sources.list'),
    `deb [signed-by=${repository}/mariadb-aws-kms.asc] copy:${repository} stable main\n`,
  );
  const options = Object.entries({
    'Dir::Etc::sourcelist': join(state, 'sources.list'),
    'Dir::Etc::sourceparts': '-',
    'Dir::State::lists': join(state, 'lists'),
    'Dir::Cache': join(state, 'cache'),
    'APT::Sandbox::User': 'root',
  }).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const updated = spawnSync('apt-get', [...options, 'update'], { encoding: 'utf8' });
  expect(updated.status, updated.stderr).toBe(0);
  expect(updated.stdout + updated.stderr).not.toMatch(/^(?:Err|W|E):/m);
  execFileSync('apt-get', [...options, 'download', NAME], { cwd: scratch, stdio: 'ignore' });
  const [downloaded = ''] = readdirSync(scratch).filter((file) => file.endsWith('.deb'));
  expect(readFileSync(join(scratch, downloaded)).equals(readFileSync(deb))).toBe(true);
});

it('the checksums are signed by the key that the owner names, and only if they are right', () => {
  const home = join(scratch, 'gnupg-of-sums');
  const directory = join(scratch, 'sums');
  for (const made of [home, directory]) mkdirSync(made, { mode: 0o700 });
  writeFileSync(join(directory, 'a.deb'), 'a');
  writeFileSync(join(directory, 'SHA256SUMS'), execFileSync('sha256sum', ['a.deb'], { cwd: directory }));
  const env = { ...process.env, GNUPGHOME: home, SIGNING_KEY: 'sums@example.org' };
  const sign = (): number | null =>
    spawnSync('sh', [join(root, 'scripts/sign-packages.sh'), directory], { env, encoding: 'utf8' }).status;
  try {
    const key = ['--batch', '--passphrase', '', '--quick-generate-key', 'sums@example.org', 'ed25519', 'sign', '1d'];
    execFileSync('gpg', key, { env, stdio: 'ignore' });
    expect(sign()).toBe(0);
    const verify = ['--verify', join(directory, 'SHA256SUMS.asc'), join(directory, 'SHA256SUMS')];
    expect(spawnSync('gpg', verify, { env }).status).toBe(0);
    writeFileSync(join(directory, 'a.deb'), 'b');
    expect(sign()).not.toBe(0);
  } finally {
    spawnSync('gpgconf', ['--kill', 'all'], { env });
  }
});
