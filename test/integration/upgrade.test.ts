/**
 * Plugin and agent of two releases meet: a package replaces the files of a server that runs on with the plugin in its
 * memory, and an agent that listens may be older or newer than the plugin.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readlinkSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { buildEarlierRelease } from '../../harness/earlier-release.ts';
import { PLUGIN_DIRECTORY, type ScratchServer, TEST_CREDENTIALS } from '../../harness/scratch-server.ts';
import { agentsOf, keyFiles, sqlError, startKms, startServer } from '../support/lab.ts';
import { cleanUp, scratchDirectory, until } from '../support/scratch.ts';

const LIBRARY = 'aws_key_management.so';
const AGENT = 'aws_key_management_agent';

/** As dpkg does: each file is renamed into its place. */
function install(release: string, directory: string): void {
  for (const file of [LIBRARY, AGENT]) {
    const fresh = join(directory, `${file}.dpkg-new`);
    copyFileSync(join(release, file), fresh);
    renameSync(fresh, join(directory, file));
  }
}

function newDirectory(name: string): string {
  const directory = join(scratchDirectory(), name);
  mkdirSync(directory, { mode: 0o700 });
  return directory;
}

async function createTable(server: ScratchServer, id: number): Promise<void> {
  await server.sql('CREATE DATABASE IF NOT EXISTS d');
  await server.sql(`CREATE TABLE d.t${id} (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`);
  await server.sql(`INSERT INTO d.t${id} VALUES (${id})`);
}

async function rotate(server: ScratchServer, id: number): Promise<void> {
  await server.sql(`SET GLOBAL aws_key_management_rotate_key=${id}`);
  await server.sql(`INSERT INTO d.t${id} VALUES (${id})`);
}

async function killAgents(server: ScratchServer): Promise<void> {
  for (const pid of await agentsOf(server)) process.kill(pid, 'SIGKILL');
  await until(
    'the agent is gone',
    async () => (await server.variable('STATUS', 'Aws_key_management_agent_state')) !== 'running',
  );
}

/** New keys, rotations, a changed setting and a key id that is not allowed, with a new agent for some of them. */
async function workWithOtherAgent(server: ScratchServer, keys: string, first: number): Promise<void> {
  await killAgents(server);
  await createTable(server, first);
  await rotate(server, first);
  await killAgents(server);
  await rotate(server, first);
  await server.sql("SET GLOBAL aws_key_management_key_ids='1-90'");
  await createTable(server, first + 1);
  await expect(createTable(server, 99)).rejects.toThrow();
  expect(await sqlError(server, 'SET GLOBAL aws_key_management_rotate_key=98')).toContain('key 98 does not exist');
  expect(keyFiles(keys)).toEqual(expect.arrayContaining([1, 2, 3].map((version) => `aws-kms-key.${first}.${version}`)));
  expect(keyFiles(keys)).toContain(`aws-kms-key.${first + 1}.1`);
}

async function expectRows(server: ScratchServer, rows: Readonly<Record<number, number>>): Promise<void> {
  for (const [id, count] of Object.entries(rows))
    expect(await server.sql(`SELECT COUNT(*) AS n FROM d.t${id} WHERE i=${id}`)).toEqual([{ n: count }]);
}

it.each([
  ['an upgrade', () => [buildEarlierRelease(), PLUGIN_DIRECTORY] as const],
  ['a downgrade', () => [PLUGIN_DIRECTORY, buildEarlierRelease()] as const],
])(
  '%s beside a running server leaves it what it does: new keys, rotations, agents that are killed',
  async (_, releases) => {
    const [before, after] = releases();
    const directory = newDirectory('plugin');
    const keys = newDirectory('keys');
    install(before, directory);
    const server = await startServer(await startKms(), {
      plugin_dir: directory,
      aws_key_management_keyfile_dir: keys,
    });
    await createTable(server, 3);
    await rotate(server, 3);
    install(after, directory);
    // The agent that runs is still the one of the plugin.
    await rotate(server, 3);
    await workWithOtherAgent(server, keys, 4);
    expect((await agentsOf(server)).map((pid) => readlinkSync(`/proc/${pid}/exe`))).toEqual([join(directory, AGENT)]);
    await server.restart();
    await createTable(server, 6);
    await rotate(server, 3);
    await expectRows(server, { 3: 4, 4: 3, 5: 1, 6: 1 });
  },
  180_000,
);

async function listen(release: string, socket: string, keys: string, kmsUrl: string): Promise<ChildProcess> {
  const agent = spawn(
    join(release, AGENT),
    ['agent', '--listen', socket, '--keyfile-dir', keys, '--endpoint-url', kmsUrl],
    { env: { ...TEST_CREDENTIALS, PATH: process.env['PATH'] }, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  cleanUp(() => void agent.kill('SIGKILL'));
  await once(agent.stderr, 'data');
  return agent;
}

it.each([
  ['older, then of its release, serves the plugin', () => [PLUGIN_DIRECTORY, buildEarlierRelease()] as const],
  [
    'newer, then of its release, serves a plugin of an earlier one',
    () => [buildEarlierRelease(), PLUGIN_DIRECTORY] as const,
  ],
])(
  'an agent that listens and is %s',
  async (_, releases) => {
    const [plugin, other] = releases();
    const kms = await startKms();
    const keys = newDirectory('keys');
    const socket = join(newDirectory('run'), 's');
    const agent = await listen(other, socket, keys, kms.url);
    const server = await startServer(kms, { plugin_dir: plugin, aws_key_management_agent: `unix:${socket}` });
    await createTable(server, 3);
    await rotate(server, 3);
    const ended = once(agent, 'exit');
    agent.kill('SIGKILL');
    await ended;
    await listen(plugin, socket, keys, kms.url);
    await createTable(server, 4);
    await rotate(server, 3);
    await server.restart();
    await expectRows(server, { 3: 3, 4: 1 });
    expect(keyFiles(keys)).toEqual(expect.arrayContaining(['aws-kms-key.3.3', 'aws-kms-key.4.1']));
  },
  180_000,
);
