/** Output of the shipped command: a pipe that closes, a full disk, JSON of failures, help. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { COMMAND, PATH } from '../../harness/scratch-server.ts';
import { scratchDirectory } from '../support/scratch.ts';

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function shell(script: string): Promise<Run> {
  const env = { PATH, HOME: scratchDirectory(), COMMAND, AWS_EC2_METADATA_DISABLED: 'true' };
  return await new Promise((resolve) => {
    execFile('/bin/bash', ['-c', script], { env, encoding: 'utf8' }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

it.each([
  'doctor --no-defaults --mock',
  'doctor --no-defaults --mock --json',
  'policy --kind key --principal arn:aws:iam::111122223333:role/r',
  '--help',
])('"%s" whose reader has gone ends silently', async (command) => {
  // `true` has ended, and its end of the pipe with it, before anything is printed.
  const { stderr } = await shell(`exec 3> >(true); wait $!; $COMMAND ${command} >&3`);
  expect(stderr).toBe('');
});

it('a command whose reader has gone keeps its exit status', async () => {
  const { stdout, stderr } = await shell('set -o pipefail; $COMMAND doctor --no-defaults --mock | head -n 1; echo $?');
  expect(stdout).toMatch(/^failure {2}\S.*\n1\n$/);
  expect(stderr).toBe('');
});

it('dev-kms ends when nobody reads its calls any more', async () => {
  const { code, stderr } = await shell(`
    exec 3< <(exec $COMMAND dev-kms 2>/dev/null)
    read -r line <&3
    exec 3<&-
    python3 -c 'import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], b"{}", {"X-Amz-Target": "TrentService.ListKeys"}))' "$(sed 's/.* //' <<<"$line")" 2>/dev/null
    wait $!`);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

it('a command fails with the reason when its output does not fit on the disk', async () => {
  const { code, stderr } = await shell(
    '$COMMAND policy --kind key --principal arn:aws:iam::111122223333:role/r >/dev/full',
  );
  expect(code).toBe(1);
  expect(stderr).toContain('mariadb-aws-kms: error: cannot write to standard output: ENOSPC\nhint: ');
});

it.each([
  [
    'verify-backup --json /nonexistent/backup',
    'STORE_UNAVAILABLE',
    'cannot list the backup directory /nonexistent/backup',
  ],
  [
    'backup-keys --json --keyfile-dir /nonexistent --to /nonexistent/backup',
    'STORE_UNAVAILABLE',
    '/nonexistent/backup',
  ],
  ['backup-keys --json', 'BAD_OPTION', "required option '--to <directory>' not specified"],
  [
    'rewrap --json --to alias/new --backup b --no-defaults --defaults-file=x',
    'BAD_OPTION',
    'only one of them at a time',
  ],
  ['rewrap --json --to alias/new --backup b --keys one --no-defaults', 'BAD_OPTION', '--keys'],
  ['audit --json --require-version x /nowhere', 'BAD_OPTION', '--require-version'],
  ['audit --json --keyfile-dir /nonexistent /tmp', 'STORE_UNAVAILABLE', 'cannot list the key directory /nonexistent'],
])('"%s" prints its failure as JSON on standard output and as text on standard error', async (command, code, said) => {
  const run = await shell(`$COMMAND ${command}`);
  expect(run.code).toBe(code === 'BAD_OPTION' ? 2 : 1);
  const { ok, problems }: { ok: boolean; problems: { code: string; message: string }[] } = JSON.parse(run.stdout);
  expect(ok).toBe(false);
  expect(problems).toMatchObject([{ code, message: expect.stringContaining(said) }]);
  expect(run.stderr).toContain(said);
});

it('a doctor that cannot begin prints an array of findings as usual', async () => {
  const { code, stdout } = await shell('$COMMAND doctor --json --no-defaults --defaults-file=x');
  expect(code).toBe(2);
  expect(JSON.parse(stdout)).toEqual([
    {
      check: 'option-files',
      status: 'failure',
      found: '--defaults-file and --no-defaults: only one of them at a time',
    },
  ]);
});

it('help about an unknown command is an error', async () => {
  expect(await shell('$COMMAND help nothing')).toEqual({
    code: 2,
    stdout: '',
    stderr: "error: unknown command 'nothing'\n",
  });
  const { code, stdout } = await shell('$COMMAND help doctor');
  expect(code).toBe(0);
  expect(stdout).toContain('Usage: mariadb-aws-kms doctor [options]');
});

it.each(['agent', 'doctor', 'backup-keys', 'verify-backup', 'rewrap', 'audit', 'policy', 'login', 'dev-kms'])(
  'the help of "%s" explains every option and has an example',
  async (verb) => {
    const { code, stdout } = await shell(`$COMMAND ${verb} --help`);
    expect(code).toBe(0);
    expect((await shell('$COMMAND --help')).stdout).toMatch(new RegExp(`^  ${verb} `, 'm'));
    const [, about, ...more] = stdout.trimEnd().split('\n\n');
    const sections = more.filter((section) => !section.startsWith('Exit status:'));
    expect(about).toMatch(/^[a-z].*[^.]$/s);
    expect(sections.at(-1)).toMatch(new RegExp(`^Example:\\n  mariadb-aws-kms ${verb} `));
    const [, ...options] = sections.at(-2)?.split(/\n(?= {2}-)/) ?? [];
    expect(options.length).toBeGreaterThan(5);
    for (const option of options)
      expect(option).toMatch(/^ {2}(?:-\w, )?--[\w-]+(?: <[^>]+>| \[[^\]]+])?\s{2,}[^\s(]\S+\s+\S/);
    expect(stdout, 'an empty default is no news').not.toMatch(/default: (?:\[\]|""|'')/);
  },
);

it('an audit of nothing is incomplete, and JSON like any other', async () => {
  const { code, stdout, stderr } = await shell(`$COMMAND audit --json --require-encrypted ${scratchDirectory()}`);
  expect({ code, stderr }).toEqual({ code: 3, stderr: '' });
  expect(JSON.parse(stdout)).toMatchObject({ ok: false, complete: false, files: [], unseen: [] });
});

it.each([0, 5])('a terminal that reports %i columns gets whole lines', async (columns) => {
  const script = `stty cols ${columns}; ${COMMAND} doctor --no-defaults --mock`;
  const { stdout } = await shell(`script -q -e -c '${script}' ${join(scratchDirectory(), 'typescript')}`);
  expect(stdout).toMatch(/plugin-library: there is no \S+\/aws_key_management\.so\r?\n/);
});
