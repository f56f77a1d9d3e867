import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { storeKeys } from '../../bench/stored-keys.ts';
import { AgentLauncher } from '../../harness/agent-launcher.ts';
import { AGENT, pluginOptions } from '../../harness/scratch-server.ts';
import { MASTER_KEY, newServer, startKms } from '../support/lab.ts';
import { scratchDirectory, until } from '../support/scratch.ts';

const SHAPE = { ids: 250, versions: 10 };
const VERSIONS = SHAPE.ids * SHAPE.versions;
/** The most starts in which two threads must be seen once. */
const STARTS = 5;

/** Key files that each thread of the agent opened, by its id. */
function openedBy(trace: string): Map<string, number> {
  const opened = new Map<string, number>();
  for (const [, thread = ''] of trace.matchAll(/^(\d+) +openat\(.*aws-kms-key\.\d+\.\d+", /gm))
    opened.set(thread, (opened.get(thread) ?? 0) + 1);
  return opened;
}

it('a server loads thousands of versions read by two threads, with and without a JIT, and from the key cache', async () => {
  const kms = await startKms();
  const directory = scratchDirectory();
  const trace = join(directory, 'trace');
  const launcher = new AgentLauncher(directory);
  launcher.prefix(`strace -f --seccomp-bpf -qq -A -o ${trace} -e trace=openat`);
  const server = newServer(
    pluginOptions(kms.url, { aws_key_management_agent: launcher.path, aws_key_management_sealed_key_cache: 'ON' }),
  );
  storeKeys(server.datadir, SHAPE, kms, MASTER_KEY);
  const threadsOfStart = async (said: string): Promise<number> => {
    rmSync(trace, { force: true });
    await server.start();
    expect(await server.variable('STATUS', 'Aws_key_management_versions_loaded')).toBe(String(VERSIONS));
    await until(`the log says "${said}"`, () => server.log.includes(said));
    await server.stop();
    // strace ends after the agent.
    let text = '';
    await until('strace has written all of its trace', () => {
      text = readFileSync(trace, 'utf8');
      return [...openedBy(text).values()].reduce((sum, count) => sum + count, 0) >= VERSIONS;
    });
    return [...openedBy(text).values()].filter((count) => count > 100).length;
  };
  /** On a busy machine the second thread may get its turn when the first one has read everything. */
  const expectTwoThreads = async (): Promise<void> => {
    for (let attempt = 1; (await threadsOfStart(`sealed ${VERSIONS} key versions into`)) !== 2; attempt += 1) {
      if (attempt === STARTS) throw new Error(`one thread alone opened the key files in ${STARTS} starts`);
      rmSync(join(server.datadir, 'aws-kms-sealed-key-cache'));
    }
  };
  await expectTwoThreads();
  // The first thread waits for no KMS here, and may read all files before the second one runs.
  expect(await threadsOfStart(`loaded ${VERSIONS} key versions from the sealed key cache`)).toBeGreaterThan(0);
  rmSync(join(server.datadir, 'aws-kms-sealed-key-cache'));
  // A start without --node-options=--no-jitless, as a plugin does where memory may not be both writable and executable.
  writeFileSync(
    launcher.path,
    `#!/bin/sh\nexec strace -f --seccomp-bpf -qq -A -o ${trace} -e trace=openat ${AGENT} agent\n`,
  );
  await expectTwoThreads();
}, 400_000);

it('the error names the one damaged key file among thousands', async () => {
  const kms = await startKms();
  const server = newServer(pluginOptions(kms.url));
  storeKeys(server.datadir, SHAPE, kms, MASTER_KEY);
  writeFileSync(join(server.datadir, 'aws-kms-key.200.7'), '');
  await expect(server.start()).rejects.toThrow(
    'key 200 version 7: key file aws-kms-key.200.7: expected 1 to 6144 bytes, got 0',
  );
});
