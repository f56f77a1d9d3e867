/** Untrusted texts as the shipped executable prints them: they contain no terminal command and forge no line. */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { COMMAND, PATH, TEST_CREDENTIALS } from '../../harness/scratch-server.ts';
import { startKms } from '../support/lab.ts';
import { scratchDirectory } from '../support/scratch.ts';

const EVIL = '\u001b[2J\u001b]0;owned\u0007\n\u009b2J\u202e\u2066\u2028mariadb-aws-kms: note: all fine\r';
/** Control characters, except the program's own line ends. */
const OBEYED = /[^\P{Cc}\n]|[\p{Zl}\p{Zp}\p{Bidi_Control}]/u;

/** A key with a forged sidecar, which describes another key. */
function hostileKeys(): string {
  const keys = join(scratchDirectory(), 'keys');
  mkdirSync(keys, { mode: 0o700 });
  writeFileSync(join(keys, 'aws-kms-key.1.1'), 'x'.repeat(200), { mode: 0o600 });
  const sidecar = { format: 1, keyId: EVIL, keyVersion: EVIL };
  writeFileSync(join(keys, 'aws-kms-key.1.1.json'), JSON.stringify(sidecar), { mode: 0o600 });
  return keys;
}

async function run(...args: readonly string[]): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const env = { ...TEST_CREDENTIALS, PATH, HOME: '/nonexistent' };
  return await new Promise((resolve) => {
    execFile(COMMAND, args, { env }, (_, stdout, stderr) => resolve({ stdout, stderr }));
  });
}

function expectClean({ stdout, stderr }: { readonly stdout: string; readonly stderr: string }): void {
  const all = `${stdout}${stderr}`;
  // The text was part of the output.
  expect(all).toContain('all fine');
  expect(all).not.toMatch(OBEYED);
  expect(all).not.toMatch(/^mariadb-aws-kms: note: all fine/m);
}

it('backup-keys prints no terminal command from a sidecar', async () => {
  const to = join(scratchDirectory(), 'backup');
  expectClean(await run('backup-keys', '--no-defaults', '--keyfile-dir', hostileKeys(), '--to', to));
});

it('rewrap prints no terminal command from a sidecar', async () => {
  const kms = await startKms();
  const from = ['--keyfile-dir', hostileKeys(), '--endpoint-url', kms.url, '--region', 'us-east-1'];
  const to = ['--to', 'alias/mariadb-encryption', '--backup', scratchDirectory(), '--dry-run'];
  expectClean(await run('rewrap', '--no-defaults', ...from, ...to));
});

it('doctor prints no terminal command from a sidecar', async () => {
  const kms = await startKms();
  expectClean(await run('doctor', '--no-defaults', '--keyfile-dir', hostileKeys(), '--endpoint-url', kms.url));
});

it('verify-backup prints no terminal command from a manifest', async () => {
  const directory = scratchDirectory();
  writeFileSync(
    join(directory, 'mariadb-aws-kms-keys.json'),
    JSON.stringify({ format: 1, [EVIL]: 1, tool: EVIL, keys: [{ file: EVIL, keyId: EVIL }] }),
  );
  const { stdout, stderr } = await run('verify-backup', '--no-defaults', '--no-kms', directory);
  expect(`${stdout}${stderr}`).not.toMatch(OBEYED);
});

it.each(['backup-keys', 'rewrap', 'doctor'])('%s --json escapes control characters', async (command) => {
  const kms = await startKms();
  const keys = ['--no-defaults', '--keyfile-dir', hostileKeys(), '--json'];
  const at = ['--endpoint-url', kms.url, '--region', 'us-east-1'];
  const more: Readonly<Record<string, readonly string[]>> = {
    'backup-keys': ['--to', join(scratchDirectory(), 'backup')],
    rewrap: [...at, '--to', 'alias/mariadb-encryption', '--backup', scratchDirectory(), '--dry-run'],
    doctor: at,
  };
  const { stdout } = await run(command, ...keys, ...(more[command] ?? []));
  expect(stdout).not.toMatch(OBEYED);
  expect(JSON.stringify(JSON.parse(stdout))).toContain(JSON.stringify(EVIL).slice(1, -1));
});
