import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { expect, it, onTestFinished } from 'vitest';
import { bashCompletion } from '../../../scripts/manual/completion.ts';
import { manPages } from '../../../scripts/manual/man-page.ts';
import { createProgram } from '../../../src/cli/commands.ts';

const EDITION = { version: 'tool 0.1.0', date: '2020-01-31' };

it('every visible verb has a man page, and the hidden ones have none', () => {
  const names = [...manPages(createProgram(), EDITION).keys()];
  expect(names).toContain('mariadb-aws-kms.1');
  expect(names).toContain('mariadb-aws-kms-rewrap.1');
  expect(names.filter((name) => /help|file-service|server-identity/.test(name))).toEqual([]);
});

it('man pages render without a warning', () => {
  const directory = scratch();
  for (const [name, text] of manPages(createProgram(), EDITION)) writeFileSync(join(directory, name), text);
  const pages = readdirSync(directory);
  expect(pages.length).toBeGreaterThan(1);
  const groff = spawnSync('groff', ['-ww', '-man', '-Tutf8', ...pages], { cwd: directory, encoding: 'utf8' });
  expect({ status: groff.status, stderr: groff.stderr }).toEqual({ status: 0, stderr: '' });
  const mandoc = spawnSync('mandoc', ['-T', 'lint', '-W', 'warning', ...pages], { cwd: directory, encoding: 'utf8' });
  expect({ status: mandoc.status, stdout: mandoc.stdout }).toEqual({ status: 0, stdout: '' });
});

it('a man page has the texts of the help, whatever characters they have', () => {
  const program = new Command('tool').description('a tool');
  program.addCommand(
    new Command('eat')
      .description(".eats 'all' that is \\ here")
      .argument('<file>', 'the "meal" – cold')
      .option('-q, --quick-bite <a|b>', '`fast`')
      .option('--salt [grains]', 'more taste')
      .addHelpText('after', '\nExample:\n  tool eat --quick-bite a'),
  );
  const page = manPages(program, EDITION).get('tool-eat.1') ?? '';
  const shown = shownOf(page);
  expect(shown).toContain("tool-eat - .eats 'all' that is \\ here");
  expect(shown).toContain('tool eat [options] file');
  expect(shown).toContain('the "meal" – cold');
  expect(shown).toContain('-q, --quick-bite a|b');
  expect(shown).toContain('`fast`');
  expect(shown).toContain('--salt [grains]');
  expect(shown).toMatch(/^EXAMPLE\n +tool eat --quick-bite a$/m);
  expect(shown).toContain('tool 0.1.0');
});

/** A command with verbs below a verb. */
function nested(): Command {
  const cook = new Command('cook').description('cooks a meal');
  cook.addCommand(
    new Command('soup').description('cooks a soup').argument('<file>', 'recipe').option('--to <directory>', 'pot'),
  );
  cook.addCommand(new Command('stew').description('cooks a stew'));
  return new Command('mariadb-aws-kms')
    .description('a tool')
    .addCommand(cook)
    .addCommand(new Command('eat').description('eats'));
}

it('a verb with verbs below it has a page that lists them, and each of them has a page', () => {
  const pages = manPages(nested(), EDITION);
  expect([...pages.keys()]).toEqual(
    ['', '-cook', '-cook-soup', '-cook-stew', '-eat'].map((name) => `mariadb-aws-kms${name}.1`),
  );
  const group = shownOf(pages.get('mariadb-aws-kms-cook.1'));
  expect(group).toMatch(/^SYNOPSIS\n +mariadb-aws-kms cook command \[options\]$/m);
  expect(group).toMatch(/^COMMANDS\n +mariadb-aws-kms-cook-soup\(1\)\n +cooks a soup\n/m);
  const page = shownOf(pages.get('mariadb-aws-kms-cook-soup.1'));
  expect(page).toMatch(/^SYNOPSIS\n +mariadb-aws-kms cook soup \[options\] file$/m);
  expect(page).toMatch(/^SEE ALSO\n +mariadb-aws-kms-cook\(1\), mariadb-aws-kms-cook-stew\(1\), mariadbd\(8\)$/m);
});

it.each([
  ['co\t', ['cook']],
  ['cook st\t', ['cook', 'stew']],
  ['cook soup --t\t some-d\t', ['cook', 'soup', '--to', 'some-dir/']],
  ['cook soup some-f\t', ['cook', 'soup', 'some-file']],
])('bash completes %j below a verb', (typed, expected) => {
  expect(argumentsAfter(typed, nested())).toEqual(expected);
});

it('the page of a verb has its own exit statuses in place of the usual ones', () => {
  const pages = manPages(createProgram(), EDITION);
  expect(shownOf(pages.get('mariadb-aws-kms-doctor.1'))).toMatch(/^EXIT STATUS\n.*^ +3 +INCOMPLETE: no failure/ms);
  expect(shownOf(pages.get('mariadb-aws-kms-doctor.1')).match(/^EXIT STATUS$/gm)).toHaveLength(1);
  expect(shownOf(pages.get('mariadb-aws-kms-policy.1'))).toMatch(/^EXIT STATUS\n +0 +success$/m);
});

it('no name, path or option is hyphenated, however narrow the page is', () => {
  for (const [name, text] of manPages(createProgram(), EDITION)) {
    const shown = execFileSync('groff', ['-man', '-Tutf8', '-P-cbou', '-rLL=44n', '-rHY=3'], {
      input: text,
      encoding: 'utf8',
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const broken = shown.match(/^.*(?:mari|mys|aws|kms|_\w*|\/\S*)[-‐]$/gm) ?? [];
    expect(broken, name).toEqual([]);
  }
});

it('the page of the command has the heading of the help for its commands', () => {
  const page = shownOf(manPages(createProgram(), EDITION).get('mariadb-aws-kms.1'));
  expect(page).toMatch(/^COMMANDS\n +mariadb-aws-kms-/m);
  expect(createProgram().helpInformation()).toMatch(/^Commands:$/m);
});

it('the page of the command lists files and variables', () => {
  const page = shownOf(manPages(createProgram(), EDITION).get('mariadb-aws-kms.1'));
  expect(page).toMatch(/^FILES\n(?: +\S+\n){2} +the plugin's options$/m);
  expect(page).toMatch(/^ENVIRONMENT\n.*^ +AWS_REGION\n +AWS_DEFAULT_REGION\n +the Region/ms);
});

it.each([
  ['rew\t', ['rewrap']],
  ['dev\t --qui\t', ['dev-kms', '--quiet']],
  ['rewrap --backup some-d\t', ['rewrap', '--backup', 'some-dir/']],
  ['rewrap --backup some-f\t', ['rewrap', '--backup', 'some-f']],
  ['init --credentials ro\t', ['init', '--credentials', 'role']],
  ['init --credentials some-f\t', ['init', '--credentials', 'some-file']],
  ['policy --kind k\t --configured', ['policy', '--kind', 'key', '--configured']],
  ['policy --kind=k\t', ['policy', '--kind=key']],
  ['doctor --defaults-file a\t', ['doctor', '--defaults-file', 'a file']],
  ['doctor --defaults-file=some-f\t', ['doctor', '--defaults-file=some-file']],
  ['doctor --region some-f\t', ['doctor', '--region', 'some-f']],
  ['doctor some-f\t', ['doctor', 'some-f']],
  ['verify-backup some-d\t', ['verify-backup', 'some-dir/']],
  ['audit --prometheus some-f\t', ['audit', '--prometheus', 'some-file']],
  ['audit some-f\t', ['audit', 'some-file']],
  ['verify-backup --no-k\t', ['verify-backup', '--no-kms']],
  ['help rew\t', ['help', 'rewrap']],
])('bash completes %j', (typed, expected) => {
  expect(argumentsAfter(typed)).toEqual(expected);
});

it('shellcheck has nothing against the completion', () => {
  const { stdout } = spawnSync('shellcheck', ['--shell=bash', '-'], {
    input: bashCompletion(createProgram()),
    encoding: 'utf8',
  });
  expect(stdout).toBe('');
});

/** Types a line in an interactive bash. @returns the arguments that the command gets */
function argumentsAfter(typed: string, program = createProgram()): readonly string[] {
  const directory = scratch();
  mkdirSync(join(directory, 'some-dir'));
  for (const name of ['some-file', 'a file']) writeFileSync(join(directory, name), '');
  const script = join(scratch(), 'completion');
  writeFileSync(script, bashCompletion(program));
  const { output } = spawnSync('bash', ['--norc', '--noprofile', '-i'], {
    cwd: directory,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], HOME: directory, TERM: 'dumb', INPUTRC: '/dev/null' },
    stdio: ['pipe', 'ignore', 'ignore', 'pipe'],
    input: `. ${script}\nmariadb-aws-kms() { printf '%s\\n' "$@" >&3; }\nmariadb-aws-kms ${typed}\n`,
  });
  return (output[3] ?? '').split('\n').slice(0, -1);
}

function shownOf(page = ''): string {
  return execFileSync('groff', ['-ww', '-man', '-Tutf8', '-P-cbou'], { input: page, encoding: 'utf8' });
}

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'mak-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}
