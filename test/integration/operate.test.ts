/** The key versions of a real server: seen, retired when nothing needs them any more, and brought back. */
import { execFile } from 'node:child_process';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { COMMAND, PATH, pluginOptions, type ScratchServer, TEST_CREDENTIALS } from '../../harness/scratch-server.ts';
import type { DevKms } from '../../src/dev-kms/index.ts';
import { keyFiles, newServer, startKms } from '../support/lab.ts';

interface Ended {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

async function operate(server: ScratchServer, kms: DevKms, ...words: readonly string[]): Promise<Ended> {
  const [verb = '', ...more] = words;
  const env = { PATH, ...TEST_CREDENTIALS, AWS_EC2_METADATA_DISABLED: 'true', HOME: server.directory };
  const files = [`--defaults-file=${join(server.directory, 'my.cnf')}`];
  const log = verb === 'retire' ? ['--audit-log', join(server.directory, 'audit.log')] : [];
  const kmsAt = verb === 'show' ? ['--endpoint-url', kms.url] : [];
  return await new Promise((resolve) => {
    execFile(
      COMMAND,
      [verb, ...files, ...log, ...kmsAt, ...more],
      { env, encoding: 'utf8' },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : (error.code ?? 'killed'), stdout, stderr });
      },
    );
  });
}

it('a version is retired when the printed commands have ended each need, the server starts without it, and undo brings it back', async () => {
  const kms = await startKms();
  const options = {
    ...pluginOptions(kms.url),
    innodb_encrypt_log: 'ON',
    innodb_encrypt_tables: 'OFF',
    innodb_encryption_threads: 0,
    innodb_log_file_size: 8 * 2 ** 20,
  };
  const server = newServer(options, { optionFile: '' });
  await server.start();
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.`t-1` (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=1');
  await server.sql('INSERT INTO d.`t-1` VALUES (42)');
  // The pages are written under version 1.
  await server.restart();
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
  const run = (...words: readonly string[]) => operate(server, kms, ...words);

  const latest = await run('retire', '1.2', '--yes');
  expect(latest).toMatchObject({ code: 2, stderr: expect.stringContaining('is the latest of its key id') });
  expect(await run('retire', '1.9')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('key 1 version 9 is not in'),
  });
  expect(await run('show', '0')).toMatchObject({ code: 2 });

  expect(await run('retire', '1.1', '--yes', '--datadir', server.datadir)).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--yes and --datadir: the data of another place tells nothing of this server'),
  });
  const refused = await run('retire', '1.1', '--yes');
  expect(refused, refused.stderr).toMatchObject({ code: 1, stdout: expect.stringContaining('not retired') });
  expect(refused.stdout).toMatch(/start +redo log .*ib_logfile0/);
  const rebuild = /to end it: (ALTER TABLE .*)/.exec(refused.stdout)?.[1] ?? '';
  expect(rebuild).toBe('ALTER TABLE `d`.`t-1` FORCE');
  const status = await run('status');
  expect(status.stdout, status.stderr).toMatch(/1 +2 +2 +\S+ +1 of 1 .*1 to start/);
  expect(status.stdout).toContain('innodb_encryption_threads is 0: nothing is re-encrypted');
  expect(status.stdout.split('\n').length).toBeLessThan(24);

  await server.sql(rebuild);
  await server.stop();
  server.options = { ...server.options, innodb_log_file_size: 10 * 2 ** 20 };
  await server.start();
  expect(await run('retire', '1.1')).toMatchObject({ code: 0, stdout: expect.stringContaining('--yes retires it') });
  expect(await run('retire', '1.1', '--yes')).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(': retired: '),
  });
  expect(keyFiles(server.datadir)).not.toContain('aws-kms-key.1.1');
  const list = await run('list', '--json');
  expect(JSON.parse(list.stdout)).toMatchObject({
    ok: true,
    versions: [
      { keyId: 1, keyVersion: 1, state: 'retired', bits: 128, algorithm: 'AES_CBC' },
      { keyId: 1, keyVersion: 2, state: 'latest', encryptionContext: expect.anything() },
    ],
  });

  // A server that has the version in memory rotates on, and so does one that never had it.
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
  await server.restart();
  expect((await server.sql('SELECT i FROM d.`t-1`'))[0]).toEqual({ i: 42 });
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
  expect(server.log).not.toContain('is missing');
  const shown = await run('show', '1.4');
  expect(shown, shown.stderr).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/key 1 version 4: latest\n.*128 bits/),
  });
  expect(shown.stdout).toContain('Enabled');

  await server.stop();
  const down = await run('status');
  expect(down.code, down.stdout).toBe(3);
  expect(down.stdout).toMatch(/Not looked at: running server: /);
  expect(await run('retire', '--undo', '1.1')).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('moved back'),
  });
  expect(keyFiles(server.datadir)).toEqual(expect.arrayContaining(['aws-kms-key.1.1', 'aws-kms-key.1.1.json']));
  await server.start();
  expect((await server.sql('SELECT i FROM d.`t-1`'))[0]).toEqual({ i: 42 });
  const away = join(server.directory, 'away');
  mkdirSync(away);
  renameSync(join(server.datadir, 'aws-kms-key.1.2'), join(away, 'aws-kms-key.1.2'));
  expect(await run('list')).toMatchObject({ code: 1, stdout: expect.stringMatching(/^1\.2 +lost/m) });
  renameSync(join(away, 'aws-kms-key.1.2'), join(server.datadir, 'aws-kms-key.1.2'));
  rmSync(away, { recursive: true });
});
