/**
 * Moves the keys of a server that is written to and rotates to another master key; the old one is unusable afterwards.
 */
import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { failingCall } from '../../harness/agent-launcher.ts';
import { COMMAND, PATH, type ScratchServer, TEST_CREDENTIALS } from '../../harness/scratch-server.ts';
import { Writers } from '../../harness/writers.ts';
import { DEFAULT_REGION, type DevKms } from '../../src/dev-kms/index.ts';
import { keyFiles, MASTER_KEY, startKms, startServer } from '../support/lab.ts';
import { until } from '../support/scratch.ts';

const NEXT = 'alias/next';
const LOCK = 'aws-kms-rewrap-lock';
/** The calls by which one version is replaced, after the backup is there or not; each is cut once. */
const CUTS = [
  'fsync:when=2',
  'fsync:when=7',
  'fsync:when=10',
  'rename,renameat,renameat2:when=2',
  'rename,renameat,renameat2:when=3',
];

interface Ended {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** @param prefix a command that starts the program */
async function rewrap(server: ScratchServer, kms: DevKms, prefix = '', ...more: readonly string[]): Promise<Ended> {
  const env = { PATH, ...TEST_CREDENTIALS, AWS_EC2_METADATA_DISABLED: 'true' };
  const backup = join(server.directory, 'before');
  const log = join(server.directory, 'audit.log');
  const places = ['--keyfile-dir', server.datadir, '--backup', backup, '--audit-log', log];
  const options = ['--no-defaults', '--endpoint-url', kms.url, ...places];
  const line = [
    ...prefix.split(' ').filter((word) => word !== ''),
    COMMAND,
    'rewrap',
    '--to',
    NEXT,
    ...options,
    ...more,
  ];
  const [program = COMMAND, ...args] = line;
  return await new Promise((resolve) => {
    execFile(program, args, { env, encoding: 'utf8' }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? 'killed'), stdout, stderr });
    });
  });
}

it('rewrap moves the keys of a busy server, interrupted at each step, and the server starts without the old master key', async () => {
  const kms = await startKms({ aliases: [MASTER_KEY, NEXT] });
  const [old = '', next = ''] = kms.keyArns;
  const server = await startServer(kms, {
    innodb_encrypt_tables: 'ON',
    innodb_flush_log_at_trx_commit: 2,
    aws_key_management_sealed_key_cache: 'ON',
  });
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  const rotate = () => server.sql('SET GLOBAL aws_key_management_rotate_key=-1');
  await rotate();

  expect(await rewrap(server, kms, '', '--dry-run')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/: \d key versions would be moved to arn:/),
  });
  for (const cut of CUTS) {
    const [call = '', when = ''] = cut.split(':');
    const ended = await rewrap(server, kms, failingCall(`${call}:signal=SIGKILL:${when}`));
    expect(ended.code, `${cut}: ${ended.stdout}${ended.stderr}`).not.toBe(0);
    const isLocked = existsSync(join(server.datadir, LOCK));
    // The message says to remove the lock; the last run waits instead.
    if (isLocked && cut !== CUTS.at(-1)) rmSync(join(server.datadir, LOCK));
    await server.restart().catch((error: unknown) => expect.fail(`${cut}: ${String(error)}`));
    await rotate();
  }
  await server.sql(`SET GLOBAL aws_key_management_master_key_id='${next}'`);
  const writers = await Writers.start(server, 'd.t', 2);
  const ended = await rewrap(server, kms);
  expect(ended, ended.stderr).toMatchObject({ code: 0, stderr: expect.stringContaining('taking over after 20 s') });
  expect(existsSync(join(server.datadir, LOCK))).toBe(false);
  await rotate();
  expect(writers.lap().commits).toBeGreaterThan(0);
  await writers.stop();
  expect(await rewrap(server, kms)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(': 0 key versions moved'),
  });

  kms.kms.call(DEFAULT_REGION, { accessKeyId: '', denied: [] }, 'ScheduleKeyDeletion', { KeyId: old });
  await server.stop();
  server.options = { ...server.options, aws_key_management_master_key_id: next };
  await server.start();
  expect(Number((await server.sql('SELECT COUNT(*) AS n FROM d.t'))[0]?.['n'])).toBeGreaterThan(0);
  const opened = kms.kms.decrypt({
    region: DEFAULT_REGION,
    ciphertextBlob: readFileSync(join(server.datadir, 'aws-kms-key.3.1')),
    keyId: next,
  });
  expect(opened.plaintext).toHaveLength(16);
});

it('a copy with sidecars from before a rewrap and key files from after it starts without the old master key', async () => {
  const kms = await startKms({ aliases: [MASTER_KEY, NEXT] });
  const [old = '', next = ''] = kms.keyArns;
  const server = await startServer(kms, { innodb_encrypt_tables: 'ON' });
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=3');
  await server.sql('INSERT INTO d.t VALUES (42)');
  const sidecars = keyFiles(server.datadir).filter((file) => file.endsWith('.json'));
  const copies = join(server.directory, 'sidecars');
  mkdirSync(copies);
  for (const file of sidecars) copyFileSync(join(server.datadir, file), join(copies, file));
  expect(await rewrap(server, kms)).toMatchObject({ code: 0 });
  await server.stop();
  for (const file of sidecars) copyFileSync(join(copies, file), join(server.datadir, file));
  kms.kms.call(DEFAULT_REGION, { accessKeyId: '', denied: [] }, 'ScheduleKeyDeletion', { KeyId: old });
  server.options = { ...server.options, aws_key_management_master_key_id: next };
  const logged = server.log.length;
  await server.start();
  expect(await server.sql('SELECT i FROM d.t')).toEqual([{ i: 42 }]);
  const said = server.log.slice(logged).match(/\[Warning\].*key 3 version 1: .*its SHA-256 is.*/g);
  expect(said).toEqual([expect.stringMatching(/it is the same data key, .*; its sidecar was corrected$/)]);
  await server.restart();
  expect(server.log.slice(logged).match(/its SHA-256 is/g)).toHaveLength(sidecars.length);
  expect(await rewrap(server, kms)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(': 0 key versions moved'),
  });
});

it('the second of two simultaneous rewraps is refused, even from a container, while the first finishes', async () => {
  const kms = await startKms({ aliases: [MASTER_KEY, NEXT] });
  const server = await startServer(kms, { innodb_encrypt_tables: 'ON' });
  kms.faults.set([{ kind: 'latency', ms: 4_000 }]);
  const first = rewrap(server, kms);
  await until('the first has begun', () => existsSync(join(server.datadir, LOCK)));
  // The second process sees neither sockets nor processes of the first.
  const second = await rewrap(server, kms, 'unshare --net --pid --uts --fork', '--to', kms.keyArns[1] ?? '');
  expect(second).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /error: another rewrap of \S+ is at work: process \d+ on \S+ since \S+\nhint: wait until it has ended; should it be killed, .*rm \S+\/aws-kms-rewrap-lock/,
    ),
  });
  kms.faults.set([]);
  expect(await first).toMatchObject({ code: 0 });
  expect(await rewrap(server, kms)).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(': 0 key versions moved'),
  });
});
