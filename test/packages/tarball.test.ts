/** The archive that `npm run package -- tarball` made, and its scripts. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { expectAgentStarts } from '../support/packaged-agent.ts';
import { TestedPackage } from '../support/tested-package.ts';

const tested = new TestedPackage('.tar.xz');
const PLUGINS = '/usr/lib/mysql/plugin';
let scratch: string;
let archive: string;

beforeAll(() => {
  scratch = tested.scratch();
  execFileSync('tar', ['-xf', tested.path, '-C', scratch]);
  archive = join(scratch, tested.name.replace('.tar.xz', ''));
});

let roots = 0;

function newRoot(): string {
  roots += 1;
  return join(scratch, `root${roots}`);
}

function script(name: string, root: string, ...args: readonly string[]): { status: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync(join(archive, name), args, {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], DESTDIR: root },
  });
  return { status, said: stdout + stderr };
}

function filesOf(root: string): readonly string[] {
  if (!existsSync(root)) return [];
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((path) => !statSync(join(root, path), { throwIfNoEntry: false })?.isDirectory())
    .map((path) => `/${path}`)
    .sort();
}

it('a second installation changes nothing, and uninstalling leaves nothing', () => {
  const root = newRoot();
  const first = script('install.sh', root, '--plugin-dir', PLUGINS);
  expect(first).toEqual({ status: 0, said: expect.stringContaining('Next: mariadb-aws-kms init') });
  const installed = filesOf(root);
  expect(installed).toContain('/usr/local/bin/mariadb-aws-kms');
  expect(installed).toContain(`${PLUGINS}/aws_key_management.so`);
  expect(readlinkSync(join(root, PLUGINS, 'aws_key_management_agent'))).toBe('/usr/local/bin/mariadb-aws-kms');
  expect(readFileSync(join(root, 'usr/local/lib/systemd/system/mariadb-aws-kms-agent.service'), 'utf8')).toContain(
    'ExecStart=/usr/local/bin/mariadb-aws-kms agent',
  );
  expect(script('install.sh', root, '--plugin-dir', PLUGINS).status).toBe(0);
  expect(filesOf(root)).toEqual(installed);
  expect(script('uninstall.sh', root)).toEqual({
    status: 0,
    said: expect.stringContaining(
      `removed: the plugin (${PLUGINS}/aws_key_management.so), the command and the other files`,
    ),
  });
  expect(filesOf(root)).toEqual([]);
  expect(existsSync(join(root, 'usr/local/share/mariadb-aws-kms'))).toBe(false);
  expect(script('uninstall.sh', root)).toEqual({ status: 1, said: expect.stringContaining('nothing is installed') });
});

it('the server is asked for its plugin directory', () => {
  const root = newRoot();
  const plugins = execFileSync(
    'sh',
    ['-c', "mariadbd --no-defaults --verbose --help 2>/dev/null | sed -n 's|^plugin-dir *||p'"],
    {
      encoding: 'utf8',
      env: { PATH: `${process.env['PATH']}:/usr/sbin` },
    },
  ).trim();
  expect(script('install.sh', root).status).toBe(0);
  expect(existsSync(join(root, plugins, 'aws_key_management.so'))).toBe(true);
});

it('another prefix and another plugin directory leave nothing of the ones before', () => {
  const root = newRoot();
  expect(script('install.sh', root, '--prefix', '/usr', '--plugin-dir', PLUGINS).status).toBe(0);
  expect(script('install.sh', root, '--prefix', '/usr', '--plugin-dir', '/opt/plugins').status).toBe(0);
  expect(filesOf(root).filter((path) => path.startsWith(PLUGINS))).toEqual([]);
  expect(existsSync(join(root, '/opt/plugins/aws_key_management.so'))).toBe(true);
  expect(filesOf(root).filter((path) => path.endsWith('.service'))).toEqual([
    '/usr/lib/systemd/system/mariadb-aws-kms-agent.service',
  ]);
  const own = join(root, 'usr/share/mariadb-aws-kms/uninstall.sh');
  expect(spawnSync(own, ['--prefix', '/usr'], { env: { PATH: process.env['PATH'], DESTDIR: root } }).status).toBe(0);
  expect(filesOf(root)).toEqual([]);
});

it('below a prefix of its own, texts name the files there, and the unit is where systemd looks', () => {
  const root = newRoot();
  expect(script('install.sh', root, '--prefix', '/opt/keys', '--plugin-dir', PLUGINS).status).toBe(0);
  const unit = '/usr/local/lib/systemd/system/mariadb-aws-kms-agent.service';
  expect(readFileSync(join(root, unit), 'utf8')).toContain('ExecStart=/opt/keys/bin/mariadb-aws-kms agent');
  const rules = readFileSync(join(root, 'opt/keys/share/mariadb-aws-kms/apparmor/local-mariadbd'), 'utf8');
  expect(rules).toContain('\n/opt/keys/bin/mariadb-aws-kms px -> ');
  expect(rules).toContain(' /opt/keys/share/mariadb-aws-kms/apparmor/mariadb-aws-kms-agent ');
  const texts = filesOf(root).filter((path) => path === unit || path.startsWith('/opt/keys/share/mariadb-aws-kms/'));
  for (const path of texts) expect(readFileSync(join(root, path), 'utf8'), path).not.toMatch(/\/usr\/(?:bin|share)\/m/);
  expect(spawnSync(join(archive, 'uninstall.sh'), ['--prefix', '/opt/keys'], { env: { DESTDIR: root } }).status).toBe(
    0,
  );
  expect(filesOf(root)).toEqual([]);
});

it('a file of somebody else is not overwritten, and key files and option files stay', () => {
  const root = newRoot();
  mkdirSync(join(root, PLUGINS), { recursive: true });
  writeFileSync(join(root, PLUGINS, 'aws_key_management.so'), 'of a package');
  const refused = script('install.sh', root, '--plugin-dir', PLUGINS);
  expect(refused).toEqual({ status: 1, said: expect.stringContaining('was not installed by this script') });
  expect(filesOf(root)).toEqual([`${PLUGINS}/aws_key_management.so`]);
  rmSync(join(root, PLUGINS, 'aws_key_management.so'));
  const kept = [
    '/var/lib/mariadb-aws-kms/aws-kms-key.1.1',
    '/etc/my.cnf.d/aws_key_management.cnf',
    `${PLUGINS}/other.so`,
  ];
  for (const file of kept) {
    mkdirSync(join(root, file, '..'), { recursive: true });
    writeFileSync(join(root, file), '');
  }
  expect(script('install.sh', root, '--plugin-dir', PLUGINS).status).toBe(0);
  expect(script('uninstall.sh', root).status).toBe(0);
  expect(filesOf(root)).toEqual(kept.sort());
});

it.each([
  [['--plugin-dir'], '--plugin-dir needs a value'],
  [['--prefix', 'usr'], '--prefix: expected an absolute path, got usr'],
  [['--force', 'x'], 'unknown option --force'],
  [['--force'], 'unknown option --force'],
])('install.sh refuses %j', (args, said) => {
  const root = newRoot();
  expect(script('install.sh', root, ...args)).toEqual({ status: 1, said: expect.stringContaining(said) });
  expect(filesOf(root)).toEqual([]);
});

it.each(['install.sh', 'uninstall.sh'])('%s has a help, and does nothing else then', (name) => {
  const root = newRoot();
  expect(script(name, root, '--help')).toEqual({
    status: 0,
    said: expect.stringMatching(/^Usage: .*--prefix DIRECTORY/),
  });
  expect(filesOf(root)).toEqual([]);
});

it('shellcheck accepts the scripts', () => {
  const scripts = ['install.sh', 'uninstall.sh', 'files/share/mariadb-aws-kms/removal-warnings'];
  const { stdout } = spawnSync('shellcheck', scripts, { cwd: archive, encoding: 'utf8' });
  expect(stdout).toBe('');
});

it('the command in the archive starts and says its version', () => {
  const said = execFileSync(join(archive, 'files/bin/mariadb-aws-kms'), ['--version'], { encoding: 'utf8' });
  expect(said).toMatch(new RegExp(`^${manifest.version}\\b`));
});

it('the agent starts by the link that the plugin uses', async () => {
  const link = join(scratch, 'aws_key_management_agent');
  symlinkSync(join(archive, 'files/bin/mariadb-aws-kms'), link);
  await expectAgentStarts(link, scratch);
});
