import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { AgentLauncher, endAgent, failingCall } from '../../scripts/lib/agent-launcher.ts';
import { pluginOptions, type ScratchServer } from '../../scripts/lib/scratch-server.ts';
import { parseFileName } from '../../src/format/key-file-name.ts';
import { newServer, startKms } from '../support/lab.ts';
import { scratchDirectory } from '../support/scratch.ts';

/** The calls by which a version becomes a file, and how often an agent that rotates once makes them. */
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
  'with %s at each step of the write sequence loses nothing and announces nothing too early',
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
      // What is announced has a file; a file that is not announced may stay behind a failure after the link, whole.
      const now = await latest(server);
      if (ok) expect(now, place).toBeGreaterThan(before);
      else expect(now, place).toBe(before);
      expect([...after.keys()], place).toContain(`aws-kms-key.1.${now}`);
      await server.sql('INSERT INTO d.t VALUES (1)');
    }
    // All but the sidecar's name and the clean-up, which cost a key nothing; killed there, the statement fails, too.
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
