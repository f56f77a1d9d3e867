/** The rpm that `npm run package -- rpm` made, installed in an empty root. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { expectAgentStarts } from '../support/packaged-agent.ts';
import { TestedPackage } from '../support/tested-package.ts';

const NAME = 'mariadb-plugin-aws-key-management';
const tested = new TestedPackage('.rpm');
const rpm = tested.path;
let scratch: string;
let root: string;

beforeAll(() => {
  scratch = tested.scratch();
  root = join(scratch, 'root');
  run('rpm', '--root', root, '--initdb');
  // An empty root has neither the libraries nor a shell for the scripts.
  run('rpm', '--root', root, '--install', '--nodeps', '--noscripts', rpm);
});

function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C.UTF-8' } });
}

function query(...args: readonly string[]): readonly string[] {
  return run('rpm', '--query', '--package', rpm, ...args)
    .trim()
    .split('\n');
}

it('the rpm installs in an empty root, and verifies', () => {
  expect(run('rpm', '--root', root, '--query', NAME)).toMatch(new RegExp(`^${NAME}-${manifest.version}-1\\.`));
  const verified = spawnSync('rpm', ['--root', root, '--verify', '--nodeps', '--noscripts', NAME], {
    encoding: 'utf8',
  });
  expect({ said: verified.stdout, status: verified.status }).toEqual({ said: '', status: 0 });
});

it('the rpm that is erased leaves no file', () => {
  const other = join(scratch, 'other');
  run('rpm', '--root', other, '--initdb');
  run('rpm', '--root', other, '--install', '--nodeps', '--noscripts', rpm);
  expect(filesBelow(join(other, 'usr'))).not.toEqual([]);
  run('rpm', '--root', other, '--erase', '--nodeps', '--noscripts', NAME);
  expect(filesBelow(join(other, 'usr'))).toEqual([]);
});

it('both plugin directories of the rpm world have the plugin and its agent', () => {
  for (const directory of ['mariadb', 'mysql'].map((name) => join(root, 'usr/lib64', name, 'plugin'))) {
    expect(realpathSync(join(directory, 'aws_key_management.so'))).toBe(
      join(root, 'usr/lib64/mariadb/plugin/aws_key_management.so'),
    );
    expect(readlinkSync(join(directory, 'aws_key_management_agent'))).toBe('../../../bin/mariadb-aws-kms');
  }
});

it('no file belongs to the administrator, to an id of the build, or to another owner than root', () => {
  const paths = query('--list');
  expect(paths.filter((path) => !path.startsWith('/usr/'))).toEqual([]);
  expect(paths.filter((path) => path.includes('build-id'))).toEqual([]);
  expect(query('--configfiles')).toEqual(['']);
  expect(new Set(query('--queryformat', '[%{FILEUSERNAME}:%{FILEGROUPNAME}\\n]'))).toEqual(new Set(['root:root']));
  const modes = new Set(query('--queryformat', '[%{FILEMODES:perms}\\n]'));
  expect(modes).toEqual(new Set(['drwxr-xr-x', '-rw-r--r--', '-rwxr-xr-x', 'lrwxrwxrwx']));
});

it('the rpm asks for a server and libraries that RHEL 9 has, and provides no library', () => {
  const requires = query('--requires');
  expect(requires).toContain(
    '(mariadb-server >= 3:10.11 or MariaDB-server >= 10.11 or mariadb1011-server or mariadb118-server)',
  );
  expect(requires).toContain('libatomic.so.1()(64bit)');
  expect(requires).toContain('libstdc++.so.6()(64bit)');
  const glibc = requires.flatMap((line) => /\(GLIBC_2\.(\d+)/.exec(line)?.[1] ?? []).map(Number);
  expect(Math.max(...glibc)).toBeLessThanOrEqual(34);
  expect(query('--provides').filter((line) => !line.startsWith(NAME))).toEqual([]);
});

it('the scripts of the rpm touch no service but the agent, and shellcheck accepts them', () => {
  for (const script of ['PREIN', 'PREUN', 'POSTUN']) {
    const text = run('rpm', '--query', '--package', '--queryformat', `%{${script}}`, rpm);
    const { stdout } = spawnSync('shellcheck', ['--shell=sh', '-'], { input: text, encoding: 'utf8' });
    expect(stdout, script).toBe('');
    const services = [...text.matchAll(/systemctl .*/g)].map(([line]) => line);
    for (const line of services) expect(line).toMatch(/mariadb-aws-kms-agent\.service|daemon-reload/);
  }
});

it('the command in the rpm starts and says its version', () => {
  const command = join(root, 'usr/bin/mariadb-aws-kms');
  expect(run(command, '--version')).toMatch(new RegExp(`^${manifest.version}\\b`));
  expect(statSync(command).mode & 0o777).toBe(0o755);
});

it('the agent in the rpm starts by the path that the plugin uses', async () => {
  await expectAgentStarts(join(root, 'usr/lib64/mysql/plugin/aws_key_management_agent'), scratch);
});

function filesBelow(directory: string): readonly string[] {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
}
