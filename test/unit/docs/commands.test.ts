import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { expect, it } from 'vitest';
import { createProgram } from '../../../src/cli/commands.ts';

const ROOT = join(import.meta.dirname, '../../..');
const DOCUMENTS = readdirSync(join(ROOT, 'docs'))
  .filter((name) => name.endsWith('.md'))
  .map((name) => `docs/${name}`);
const BLOCK = /^```(\w*)\n([\s\S]*?)^```$/gm;
/** Lines of blocks that are no command: SQL, output, continued lines, the rest of a Dockerfile. */
const NO_COMMAND = /^(?:$|\s|MariaDB>|\d+$|COPY |RUN |VOLUME )/;

/** Tests that run a command of the documents, by its beginning: the file, and its words there. */
const RUN: Readonly<Record<string, readonly [file: string, words: string]>> = {
  // The minute reads both from the document.
  'apt-get install ./mariadb-plugin': ['campaigns/packages/minute.ts', 'machine.run(installation'],
  'mariadb-aws-kms init --embedded-kms': ['campaigns/packages/minute.ts', 'machine.run(initialisation'],
  'mariadb-aws-kms doctor': ['campaigns/packages/install.ts', 'mariadb-aws-kms doctor'],
  // init does it under systemd, and the minute expects another process of the server.
  'systemctl restart mariadb': ['campaigns/packages/minute.ts', 'the server was restarted within the minute'],
  // Both read these lines from the document, and give init the KMS of the machine.
  'mariadb-aws-kms init --master-key': [
    'campaigns/packages/initialised.ts',
    "documented('install.md', 'mariadb-aws-kms init --master-key')",
  ],
  'systemctl enable mariadb-aws-kms-agent': ['campaigns/packages/initialised.ts', 'machine.run(next)'],
  'systemctl restart mariadb-aws-kms-agent': ['campaigns/packages/initialised.ts', 'machine.run(next)'],
  // The commands of one section, run in their order.
  'systemctl stop mariadb': ['campaigns/packages/separate.ts', 'machine.run(commands'],
  'install -d -o mariadb-aws-kms': ['campaigns/packages/separate.ts', 'machine.run(commands'],
  'install -o mariadb-aws-kms': ['campaigns/packages/separate.ts', 'machine.run(commands'],
  'chown mariadb-aws-kms:': ['campaigns/packages/separate.ts', 'machine.run(commands'],
  'mv /etc/': ['campaigns/packages/separate.ts', 'machine.run(commands'],
  'export AWS_SHARED_CREDENTIALS_FILE': ['campaigns/packages/services.ts', 'machine.run(backup.join'],
  'mariadb-backup --': ['campaigns/packages/services.ts', 'machine.run(backup.join'],
  '# grep -c': ['campaigns/packages/minute.ts', 'expectEncrypted(machine, table, secret)'],
  'aws kms create-key': ['test/integration/awscli.test.ts', "'create-key'"],
  'aws kms create-alias': ['test/integration/awscli.test.ts', "'create-alias'"],
  'tar -xf mariadb-aws-kms': ['test/packages/tarball.test.ts', "'tar'"],
  'cd mariadb-aws-kms': ['test/packages/tarball.test.ts', "'tar'"],
  './install.sh': ['test/packages/tarball.test.ts', 'install.sh'],
  'npm install ./mariadb-aws-kms': ['test/packages/npm.test.ts', "'npm', ['install'"],
  'npx mariadb-aws-kms --version': ['test/packages/npm.test.ts', "'mariadb-aws-kms', '--version'"],
  'apt-get install libatomic1': ['campaigns/packages/container.ts', 'libatomic1'],
  'install -m 0644 /usr/share/mariadb-aws-kms/apparmor': [
    'campaigns/packages/apparmor.ts',
    '/mariadb-aws-kms-agent /etc/apparmor.d/',
  ],
  'cat /usr/share/mariadb-aws-kms/apparmor': [
    'campaigns/packages/apparmor.ts',
    '/local-mariadbd >> /etc/apparmor.d/local/mariadbd',
  ],
};
/** Commands that `docs/install.md` names among those that were not run, by their beginning: its words there. */
const NOT_RUN: Readonly<Record<string, string>> = {
  'dnf install': '`dnf install`',
  'setsebool -P': '`setsebool`',
  'semanage fcontext': '`semanage`',
  'apparmor_parser -r': '`apparmor_parser -r`',
  'docker run': '`docker run`',
  'FROM mariadb': '`FROM`',
  'ln -s': '`ln -s`',
  'install -m 0644 build/plugin': 'the two `install` lines',
  'install -m 0755 build/plugin': 'the two `install` lines',
};

function textOf(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** Lines of the blocks for a shell. */
function linesOf(document: string): readonly string[] {
  const blocks = [...textOf(document).matchAll(BLOCK)].filter(([, language = '']) => /^(?:sh)?$/.test(language));
  return blocks.flatMap(([, , lines = '']) =>
    lines
      .replaceAll('\\\n', ' ')
      .replaceAll(/^# (?=mariadb-aws-kms )/gm, '')
      .split('\n'),
  );
}

function commandsOf(document: string): readonly string[] {
  return linesOf(document).filter((line) => !NO_COMMAND.test(line));
}

function startingWith<T>(table: Readonly<Record<string, T>>, command: string): T | undefined {
  return Object.entries(table).find(([beginning]) => command.startsWith(beginning))?.[1];
}

it.each(['docs/quick-start.md', 'docs/install.md'])(
  '%s has only commands that a test runs or that it says were not run',
  (document) => {
    const commands = commandsOf(document);
    expect(commands.length).toBeGreaterThan(5);
    const notRun = textOf('docs/install.md').split('## What was not run\n')[1] ?? '';
    const unknown = commands.filter((command) => {
      const run = startingWith(RUN, command);
      if (run !== undefined) return !textOf(run[0]).includes(run[1]);
      const words = startingWith(NOT_RUN, command);
      return words === undefined || !notRun.includes(words);
    });
    expect(unknown).toEqual([]);
  },
);

it('the table of commands has no command that the documents lost', () => {
  const commands = ['docs/quick-start.md', 'docs/install.md'].flatMap(commandsOf);
  const lost = [...Object.keys(RUN), ...Object.keys(NOT_RUN)].filter(
    (beginning) => !commands.some((command) => command.startsWith(beginning)),
  );
  expect(lost).toEqual([]);
});

it.each([
  'README.md',
  ...['quick-start', 'install', 'aws', 'backup', 'galera', 'operation', 'reference', 'audit'].map(
    (name) => `docs/${name}.md`,
  ),
])('%s has only verbs and options that the command has', (document) => {
  const lines = linesOf(document).filter((line) => line.startsWith('mariadb-aws-kms '));
  const inText = [...textOf(document).matchAll(/`(mariadb-aws-kms [^`]+)`/g)].map(([, command = '']) => command);
  expect([...lines, ...inText].flatMap((command) => strangersIn(command.replaceAll(/\s+/g, ' ')))).toEqual([]);
});

it.each(['README.md', ...DOCUMENTS])('%s has only values that the options of the command take', (document) => {
  for (const line of linesOf(document).filter((each) => each.startsWith('mariadb-aws-kms '))) {
    const [, verb = '', ...rest] = line.split(/ +/);
    const found = createProgram().commands.find((each) => each.name() === verb);
    const below = found?.commands.find((each) => each.name() === rest[0]);
    expect(() => (below ?? found)?.parseOptions(below === undefined ? rest : rest.slice(1)), line).not.toThrow();
  }
});

function strangersIn(command: string): readonly string[] {
  const program = createProgram();
  // After the pipe are other programs.
  const [, verb = '', ...rest] = command.replace(/ \| .*/, '').split(' ');
  const named = verb.startsWith('-') ? program : program.commands.find((each) => each.name() === verb);
  const found: Command | undefined = named?.commands.find((each) => each.name() === rest[0]) ?? named;
  if (found === undefined) return [command];
  const known = found.options.flatMap(({ long, short }) => [long, short]).concat('--help', '-h');
  const options = (verb.startsWith('-') ? [verb, ...rest] : rest).filter((word) => /^--?[a-z]/.test(word));
  return options.map((word) => word.split('=')[0]).every((word) => known.includes(word)) ? [] : [command];
}
