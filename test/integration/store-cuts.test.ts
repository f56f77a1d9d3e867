import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { AGENT, pluginOptions, type ScratchServer } from '../../scripts/lib/scratch-server.ts';
import { parseFileName } from '../../src/format/key-file-name.ts';
import { agentsOf, childrenOf, newServer, startKms } from '../support/lab.ts';
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

/** Lets strace make the N-th call of the next agent fail, or end it there. */
function injector(): { readonly path: string; inject(what: string): void } {
  const directory = scratchDirectory();
  const control = join(directory, 'inject');
  const path = join(directory, 'agent');
  writeFileSync(control, '\n');
  writeFileSync(
    path,
    `#!/bin/sh\nread -r what <${control}\n[ -z "$what" ] && exec ${AGENT} "$@"\n` +
      // strace counts the calls of each thread.
      `UV_THREADPOOL_SIZE=1 exec strace -f --seccomp-bpf -qq -o /dev/null -e "inject=$what" ${AGENT} "$@"\n`,
    { mode: 0o755 },
  );
  return { path, inject: (what) => writeFileSync(control, `${what}\n`) };
}

/** The agent and not strace, which would leave it running. Returns when the plugin has noticed. */
async function endAgent(server: ScratchServer): Promise<void> {
  for (const pid of await agentsOf(server)) {
    for (const agent of [...childrenOf(pid), pid].slice(0, 1)) process.kill(agent, 'SIGKILL');
  }
  await vi.waitFor(async () => expect(await agentsOf(server)).toEqual([]), 10_000);
}

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
    const agent = injector();
    const server = newServer(pluginOptions(kms.url, { aws_key_management_agent: agent.path }));
    await server.start();
    await server.sql('CREATE DATABASE d');
    await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES');
    let failed = 0;
    for (const [call, when] of CALLS) {
      const [before, files] = [await latest(server), checksums(server)];
      agent.inject(`${call}:${cut}:when=${when}`);
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
      expect(now, place).toBe(ok ? now : before);
      expect([...after.keys()], place).toContain(`aws-kms-key.1.${now}`);
      await server.sql('INSERT INTO d.t VALUES (1)');
    }
    // All but the sidecar's name and the clean-up, which cost a key nothing; killed there, the statement fails, too.
    expect(failed).toBe(cut.startsWith('signal') ? CALLS.length : 4);
    agent.inject('');
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
