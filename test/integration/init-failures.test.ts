/** `init` with a real server that stands in its way. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it, vi } from 'vitest';
import { expectKeyError } from '../support/expect-error.ts';
import { at, commandLine, everything, init, isActive, makeServer, script, shell, sql } from '../support/init-server.ts';
import { cleanUp, until } from '../support/scratch.ts';

// Each test starts a server up to six times, which a busy machine does slowly.
vi.setConfig({ testTimeout: 300_000 });
beforeEach(makeServer);

it('a trial that encrypts by default ends after the printed commands as well', async () => {
  await script('start');
  await init('--embedded-kms');
  const file = at('options/aws_key_management.cnf');
  const text = readFileSync(file, 'utf8');
  const on = text.replaceAll(/^#(innodb_encrypt_(?:tables|log)|innodb_encryption_threads) /gm, '$1 ');
  expect(on).not.toBe(text);
  writeFileSync(file, on);
  await script('restart');
  await sql('CREATE DATABASE d; CREATE TABLE d.t (i INT); INSERT INTO d.t VALUES (7)');
  const refusal = await expectKeyError(
    init('--remove-trial'),
    'SETUP_REFUSED',
    /by default: innodb_encrypt_tables, innodb/,
  );
  expect(refusal.hint).toMatch(/^take innodb_encrypt_tables, innodb_encrypt_log out of the option files and restart/);
  writeFileSync(file, text);
  await script('restart');
  await shell(/innodb_encrypt_tables encrypted: (mariadb -e '.*?');/.exec(refusal.hint)?.[1] ?? 'false');
  await until('the threads have decrypted everything', async () => {
    const left = 'SELECT COUNT(*) FROM information_schema.innodb_tablespaces_encryption WHERE min_key_version > 0';
    return (await sql(left)) === '0';
  });
  await init('--remove-trial');
  expect(await sql('SELECT i FROM d.t')).toBe('7');
  expect(await isActive()).toBe(false);
});

it('of two at the same time one is refused, and a killed one leaves no lock', async () => {
  await script('start');
  const file = at('tmp/init.lock');
  const other = spawn('flock', [file, 'sh', '-c', 'echo; exec cat'], { detached: true });
  cleanUp(() => void other.stdin.destroy());
  await once(other.stdout, 'data');
  const untouched = everything();
  await expectKeyError(init('--embedded-kms'), 'SETUP_REFUSED', /^another "mariadb-aws-kms init" is at work; nothing/);
  expect(everything()).toBe(untouched);
  expect((await init('--embedded-kms', '--dry-run')).out).toContain('without --dry-run');
  const ended = once(other, 'close');
  other.stdin.destroy();
  await ended;

  const both = await Promise.allSettled([init('--embedded-kms'), init('--embedded-kms')]);
  expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  for (const one of both) if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'SETUP_REFUSED' });
  expect(await isActive()).toBe(true);

  const module = join(import.meta.dirname, '../../src/cli/init-lock.ts');
  const killed = spawn(process.execPath, ['--input-type=module', '-'], { stdio: ['pipe', 'pipe', 'inherit'] });
  killed.stdin.end(`const { lockInit } = await import(${JSON.stringify(module)});
    await lockInit(${JSON.stringify(file)}); console.log('locked'); setInterval(() => undefined, 1000);`);
  await once(killed.stdout, 'data');
  await expectKeyError(init('--remove-trial'), 'SETUP_REFUSED', /^another "mariadb-aws-kms init" is at work/);
  killed.kill('SIGKILL');
  await once(killed, 'close');
  await until('the lock is free', async () => {
    return (await shell(`flock --nonblock ${file} echo free || :`)) === 'free';
  });
  await init('--remove-trial');
  expect(await isActive()).toBe(false);
});

it('a server that does not start with the trial gets its old configuration back', async () => {
  await script('start');
  // The doctor knows nothing of what the administrator gives the server here; without the plugin the server ignores it.
  writeFileSync(at('defaults'), 'MORE=--loose-aws-key-management-agent=/bin/false\n');
  const untouched = everything();
  const message =
    /^the server does not run after ".*init\.d restart" \(status 1\): .*the agent ended \(exit status 1\).*; what was written was removed, but for \S*trial, which mariadb-aws-kms init --remove-trial moves aside; /;
  const error = await expectKeyError(init('--embedded-kms'), 'SETUP_FAILED', message);
  expect(error.message).toMatch(/; the server runs as before$/);
  const withoutTrial = (list: string): string[] =>
    list.split('\n').filter((line) => !/^(?:trial|options |defaults )/.test(line));
  expect(withoutTrial(everything())).toEqual(withoutTrial(untouched));
  expect(readdirSync(at('options'))).toEqual([]);
  expect(readFileSync(at('defaults'), 'utf8')).toBe('MORE=--loose-aws-key-management-agent=/bin/false\n');
  expect(readdirSync(at('trial')).sort()).toEqual(['kms.json', 'kms.log', 'kms.pid']);
  const kms = readFileSync(at('trial/kms.pid'), 'utf8').trim();
  expect(commandLine(kms), 'the KMS of the trial has ended').toBe('');
  expect(await isActive()).toBe(false);

  await script('stop');
  const again = await expectKeyError(
    init('--embedded-kms'),
    'SETUP_FAILED',
    /the agent ended.*; what was written was removed; /,
  );
  expect(again.message).toMatch(/; the server is stopped, as it was before$/);
  expect(existsSync(at('pid'))).toBe(false);
});
