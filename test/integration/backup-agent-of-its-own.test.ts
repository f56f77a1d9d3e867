/** Backups of a server with a separate agent on a unix socket, and the users who may make them. */
import { spawn } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  COMMAND,
  EVERYTHING_ENCRYPTED,
  PATH,
  pluginOptions,
  ScratchServer,
  TEST_CREDENTIALS,
} from '../../harness/scratch-server.ts';
import { newServer, run, startKms, startServer } from '../support/lab.ts';
import { backUp, mariadbBackup, prepare } from '../support/mariadb-backup.ts';
import { cleanUp, scratchDirectory, until } from '../support/scratch.ts';

/** A scratch directory that every user may enter. */
function openDirectory(): string {
  const home = scratchDirectory();
  chmodSync(home, 0o755);
  return home;
}

async function startAgent(
  socket: string,
  keys: string,
  kmsUrl: string,
  credentials: NodeJS.ProcessEnv = TEST_CREDENTIALS,
): Promise<() => Promise<void>> {
  const agent = spawn(COMMAND, ['agent', '--listen', socket, '--keyfile-dir', keys, '--endpoint-url', kmsUrl], {
    env: { PATH, ...credentials },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const stop = async (): Promise<void> => {
    agent.kill();
    await until('the agent has ended', () => agent.exitCode !== null || agent.signalCode !== null, 60);
  };
  cleanUp(stop);
  let said = '';
  agent.stderr.on('data', (piece) => {
    said += String(piece);
  });
  await until('the agent listens', () => said.includes('listens on'), 60);
  return stop;
}

it('a backup without the keys of a separate agent warns with a command, and is prepared with what that command copies', async () => {
  const kms = await startKms();
  const home = openDirectory();
  const keys = join(home, 'keys');
  const socket = join(home, 'door/s');
  mkdirSync(keys);
  mkdirSync(join(home, 'door'), { mode: 0o700 });
  const stopAgent = await startAgent(socket, keys, kms.url);
  const options = pluginOptions(kms.url, { ...EVERYTHING_ENCRYPTED, aws_key_management_agent: `unix:${socket}` });
  const server = newServer(options);
  await server.start();
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB');
  await server.sql('INSERT INTO d.t VALUES (1)');
  const full = join(home, 'full');
  const lacks = '[Warning] mariadb-backup: AWS KMS plugin: THIS BACKUP HOLDS NO KEYS, and without them nobody can';
  expect(await backUp(server, full)).toContain(lacks);
  await server.stop();
  // The command that the warning prints.
  await run(COMMAND, ['backup-keys', '--keyfile-dir', keys, '--to', join(home, 'key-backup')]);
  renameSync(keys, join(home, 'lost'));
  await stopAgent();

  const failed: unknown = await prepare(full).catch((error: unknown) => error);
  const stderr = failed instanceof Error && 'stderr' in failed ? String(failed.stderr) : '';
  const [, cure = ''] = /no agent listens on '\S+': there is no such socket; mariadb-backup (.*)$/m.exec(stderr) ?? [];
  expect(cure, stderr).toMatch(/^--defaults-file=BACKUP\/backup-my\.cnf --prepare --target-dir=BACKUP /);
  // The failure comes long before start_timeout, for which a start waits for its agent.
  const [from, to] = [
    ...stderr.matchAll(/^\S+ +(\d+):(\d+):(\d+) 0 \[(?:Note|ERROR)\] mariadb-backup: AWS KMS plugin: /gm),
  ].map(([, hours, minutes, seconds]) => Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds));
  expect(((to ?? Number.NaN) - (from ?? Number.NaN) + 86_400) % 86_400).toBeLessThan(45);

  const words = cure.replaceAll('BACKUP', full).replace('DIRECTORY-OF-THE-KEY-FILES', join(home, 'key-backup'));
  expect(await mariadbBackup(words.split(' '))).toContain('completed OK!');
  const { aws_key_management_agent: _, ...own } = options;
  const restored = new ScratchServer({
    directory: join(home, 'restored'),
    options: { ...own, aws_key_management_keyfile_dir: join(home, 'key-backup') },
  });
  cleanUp(() => restored.kill());
  cpSync(full, restored.datadir, { recursive: true });
  await restored.start();
  expect(await restored.sql('SELECT i FROM d.t')).toMatchObject([{ i: 1 }]);
});

it('the advice for a relative key directory names it so that it holds in every directory', async () => {
  const kms = await startKms();
  const server = newServer(pluginOptions(kms.url, { ...EVERYTHING_ENCRYPTED, aws_key_management_keyfile_dir: 'own' }));
  mkdirSync(join(server.datadir, 'own'));
  await server.start();
  const home = openDirectory();
  const output = await backUp(server, join(home, 'full'));
  const [, from = ''] = /HOLDS NO KEYS.* backup-keys --keyfile-dir (\S+) --to DIRECTORY$/m.exec(output) ?? [];
  expect(from, output).toBe(join(server.datadir, 'own'));
  await run(COMMAND, ['backup-keys', '--keyfile-dir', from, '--to', join(home, 'copy')], { cwd: '/' });
  expect(readdirSync(join(home, 'copy'))).toContain('aws-kms-key.1.1');
});

it("a member of the server's group is told who may read the keys", async () => {
  if (process.getuid?.() !== 0) throw new Error('only root can act as others: run these tests as root');
  const kms = await startKms();
  const home = openDirectory();
  const server = await startServer(kms, EVERYTHING_ENCRYPTED, { directory: join(home, 'server'), user: 'nobody' });
  await server.sql("CREATE USER IF NOT EXISTS 'member'@'localhost'");
  await server.sql("GRANT ALL ON *.* TO 'member'@'localhost'");
  // The modes that a server leaves when its UMASK lets the group read.
  await run('sh', [
    '-c',
    'chgrp -R nogroup "$0" && chmod -R g+rX "$0" && chmod 0600 "$0"/data/aws-kms-key.*',
    server.directory,
  ]);
  const backups = join(home, 'backups');
  mkdirSync(backups);
  chmodSync(backups, 0o777);
  const as = (uid: string) => ({
    command: ['setpriv', `--reuid=${uid}`, '--regid=nogroup', '--clear-groups', 'mariadb-backup'] as const,
  });
  const output: unknown = await backUp(server, join(backups, 'a'), { ...as('34'), cwd: backups }).catch(
    (error: unknown) => error,
  );
  const stderr = output instanceof Error && 'stderr' in output ? String(output.stderr) : '';
  expect(stderr).toMatch(
    /cannot read aws-kms-key\.\{1\.1,2\.1\} in \S+: EACCES: .*; this runs as user 34, and \S+aws-kms-key\.\{1\.1,2\.1\} is of user 65534 with mode 0600: run it as root, or as the user of the server, whose the key files are$/m,
  );
  expect(stderr).not.toContain('chmod');
  expect(await backUp(server, join(backups, 'b'), { ...as('nobody'), cwd: backups })).toContain('completed OK!');
  expect(await backUp(server, join(backups, 'c'))).toContain('completed OK!');
});

it("a mariadb-backup without the service's credentials prints a way to name them, which works", async () => {
  const kms = await startKms();
  const server = await startServer(kms, EVERYTHING_ENCRYPTED);
  const home = openDirectory();
  const env = { PATH, AWS_EC2_METADATA_DISABLED: 'true' };
  const args = ['--no-defaults', '--backup', `--datadir=${server.datadir}`, `--socket=${server.socket}`, '--user=root'];
  const failed: unknown = await run('mariadb-backup', [...args, `--target-dir=${join(home, 'a')}`], { env }).catch(
    (error: unknown) => error,
  );
  const stderr = failed instanceof Error && 'stderr' in failed ? String(failed.stderr) : '';
  const [, cure = ''] =
    /: `(AWS_SHARED_CREDENTIALS_FILE=\S+ mariadb-backup) …`, for a backup into a new/.exec(stderr) ?? [];
  expect(cure, stderr).toContain('/etc/mariadb-aws-kms/credentials');
  const file = join(home, 'credentials');
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = TEST_CREDENTIALS;
  writeFileSync(file, `[default]\naws_access_key_id = ${id}\naws_secret_access_key = ${secret}\n`);
  const script = `${cure.replace('/etc/mariadb-aws-kms/credentials', file)} "$@"`;
  const done = await run('bash', ['-c', script, 'bash', ...args, `--target-dir=${join(home, 'b')}`], { env });
  expect(done.stderr).toContain('completed OK!');
  expect(stderr + done.stdout + done.stderr).not.toContain(secret);
});

it.each([
  ['is taken from the server of the same user', 'nobody', true],
  ['is not taken over a variable of root', 'nobody', false],
])("the service's identity for a mariadb-backup of root %s", async (_, user, isBare) => {
  if (process.getuid?.() !== 0) throw new Error('only root can act as others: run these tests as root');
  const kms = await startKms();
  const home = openDirectory();
  const server = await startServer(kms, EVERYTHING_ENCRYPTED, { directory: join(home, 'server'), user });
  const env = { PATH, ...(isBare ? {} : { AWS_EC2_METADATA_DISABLED: 'true' }) };
  const at = [`--datadir=${server.datadir}`, `--socket=${server.socket}`, `--target-dir=${join(home, 'a')}`];
  const done: unknown = await run('mariadb-backup', ['--no-defaults', '--backup', ...at, '--user=root'], { env }).catch(
    (error: unknown) => error,
  );
  const said = typeof done === 'object' && done !== null && 'stderr' in done ? String(done.stderr) : '';
  const names = Object.keys(TEST_CREDENTIALS);
  const note = new RegExp(
    `: (?:${names.join('|')}).* as the running server \\(process ${server.pid}\\) has it, because`,
  );
  if (isBare) expect(said).toMatch(note);
  else expect(said).not.toMatch(note);
  expect(said.includes('completed OK!'), said).toBe(isBare);
  expect(said).not.toContain(TEST_CREDENTIALS['AWS_SECRET_ACCESS_KEY']);
});

it("a mariadb-backup that fails for the identity of a separate agent speaks of the agent's, not of the server's", async () => {
  const kms = await startKms();
  const home = openDirectory();
  const [keys, socket] = [join(home, 'keys'), join(home, 'door/s')];
  mkdirSync(keys);
  mkdirSync(join(home, 'door'), { mode: 0o700 });
  const stopAgent = await startAgent(socket, keys, kms.url);
  const options = pluginOptions(kms.url, { ...EVERYTHING_ENCRYPTED, aws_key_management_agent: `unix:${socket}` });
  const server = newServer(options);
  await server.start();
  await stopAgent();
  await startAgent(socket, keys, kms.url, { AWS_EC2_METADATA_DISABLED: 'true' });
  const failed: unknown = await backUp(server, join(home, 'a')).catch((error: unknown) => error);
  const stderr = failed instanceof Error && 'stderr' in failed ? String(failed.stderr) : '';
  expect(stderr).toMatch(/the AWS identity is that of the separate agent on the socket, whoever runs mariadb-backup/);
  expect(stderr).not.toMatch(/pidof|its service gives it AWS_/);
});
