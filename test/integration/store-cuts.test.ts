import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { AgentLauncher, endAgent, failingCall } from '../../harness/agent-launcher.ts';
import { pluginOptions, type ScratchServer } from '../../harness/scratch-server.ts';
import { KEY_CACHE_FILE, parseFileName } from '../../src/format/key-file-name.ts';
import { agentsOf, newServer, startKms } from '../support/lab.ts';
import { scratchDirectory, until } from '../support/scratch.ts';

/** System calls that store a version, and how often an agent that rotates once makes each. */
const CALLS = [
  ['fsync', 1],
  ['fsync', 2],
  ['fsync', 3],
  ['fsync', 4],
  ['link,linkat', 1],
  ['rename,renameat,renameat2', 1],
  ['unlink,unlinkat', 1],
] as const;
const CUTS = ['signal=SIGKILL', 'error=EIO', 'error=ENOSPC'] as const;

function checksums({ datadir }: ScratchServer): Map<string, string> {
  const files = readdirSync(datadir).filter((file) => parseFileName(file).kind === 'wrapped-key');
  return new Map(
    files.map((file) => [
      file,
      createHash('sha256')
        .update(readFileSync(join(datadir, file)))
        .digest('hex'),
    ]),
  );
}

async function latest(server: ScratchServer): Promise<number> {
  return Number(await server.variable('STATUS', 'Aws_key_management_key_1_latest_version'));
}

it.each(CUTS)(
  'a rotation with %s at each system call of storing a key loses nothing and announces nothing too early',
  async (cut) => {
    const kms = await startKms();
    const agent = new AgentLauncher(scratchDirectory());
    const server = newServer(pluginOptions(kms.url, { aws_key_management_agent: agent.path }));
    await server.start();
    await server.sql('CREATE DATABASE d');
    await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES');
    let failed = 0;
    for (const [call, when] of CALLS) {
      const [before, files] = [await latest(server), checksums(server)];
      agent.prefix(failingCall(`${call}:${cut}:when=${when}`));
      await endAgent(server);
      const ok = await server.sql('SET GLOBAL aws_key_management_rotate_key=1').then(
        () => true,
        () => false,
      );
      if (!ok) failed += 1;
      const place = `${call} ${when}`;
      const after = checksums(server);
      for (const [file, sum] of files) expect(after.get(file), `${place}: ${file}`).toBe(sum);
      // Every announced version has a file. A failure after the link may leave a complete file of a version that is not
      // announced.
      const now = await latest(server);
      if (ok) expect(now, place).toBeGreaterThan(before);
      else expect(now, place).toBe(before);
      expect([...after.keys()], place).toContain(`aws-kms-key.1.${now}`);
      await server.sql('INSERT INTO d.t VALUES (1)');
    }
    // Only the sidecar's name and the clean-up may fail without losing the rotation; a kill there fails the statement,
    // too.
    expect(failed).toBe(cut.startsWith('signal') ? CALLS.length : 4);
    agent.prefix('');
    await endAgent(server);
    await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
    const files = checksums(server);
    const versions = await latest(server);
    expect(files.size).toBe(versions);
    await server.restart();
    expect(await latest(server)).toBe(versions);
    expect(checksums(server)).toEqual(files);
    expect(await server.sql('SELECT COUNT(*) AS n FROM d.t')).toEqual([{ n: CALLS.length }]);
  },
);

/** System calls of a start that stores a lost sidecar and then the cache of keys. */
const START_CALLS = [
  ['fsync', 1],
  ['link,linkat', 1],
  ['fsync', 2],
  ['fsync', 3],
  ['rename,renameat,renameat2', 1],
  ['fsync', 4],
] as const;

it('SIGKILL at each step of storing a lost sidecar and the key cache loses no key, and the next start stores both', async () => {
  const kms = await startKms();
  const agent = new AgentLauncher(scratchDirectory());
  const server = newServer(
    pluginOptions(kms.url, {
      aws_key_management_agent: agent.path,
      aws_key_management_encryption_context: 'env=test',
      aws_key_management_sealed_key_cache: 'ON',
    }),
  );
  const [cache, sidecar] = [KEY_CACHE_FILE, 'aws-kms-key.1.1.json'].map((file) => join(server.datadir, file));
  const areThere = (): boolean => [cache, sidecar].every((file) => file !== undefined && existsSync(file));
  await server.start();
  await server.sql('CREATE DATABASE d');
  await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES');
  await server.sql('INSERT INTO d.t VALUES (1)');
  await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
  const files = checksums(server);
  await until('the key cache is stored', areThere);
  for (const [call, when] of START_CALLS) {
    await server.stop();
    for (const file of [cache, sidecar]) rmSync(file ?? '', { force: true });
    agent.prefix(failingCall(`${call}:signal=SIGKILL:when=${when}`));
    const from = server.log.length;
    // An agent killed before it has delivered the keys fails the start.
    const hasStarted = await server.start().then(
      () => true,
      () => false,
    );
    const place = `${call} ${when}`;
    if (hasStarted) await until(`${place}: the agent is killed`, async () => (await agentsOf(server)).length === 0);
    else expect(server.log.slice(from), place).toContain('the agent ended (signal 9, Killed)');
    expect(checksums(server), place).toEqual(files);
    if (hasStarted) expect(await server.sql('SELECT i FROM d.t'), place).toEqual([{ i: 1 }]);
  }
  agent.prefix('');
  await server.restart();
  await until('sidecar and key cache are stored', areThere);
  expect(await server.sql('SELECT i FROM d.t')).toEqual([{ i: 1 }]);
  expect(checksums(server)).toEqual(files);
});
