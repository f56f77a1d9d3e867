/** Measures the time to the first key and the memory of an agent, as shipped and in variants. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AGENT, TEST_CREDENTIALS } from '../harness/scratch-server.ts';
import { type AgentQuestion, runAgent } from './agent-process.ts';
import { startKmsProcess } from './kms-process.ts';
import type { BenchOptions, Section } from './section.ts';
import { makeCertificates, type StandIn, startStandIn } from './stand-in.ts';
import { median, ratios, table, withSpread } from './statistics.ts';
import { answersOf } from './stored-keys.ts';

interface Figures {
  readonly ms: number;
  readonly residentMb: number;
  readonly privateMb: number;
}

interface Candidate {
  readonly name: string;
  run(): Promise<Figures>;
}

const MB = 1e6;
const JIT = ['--node-options=--no-jitless'];
/** KMS answers so late that the agent's line about its call does not arrive together with the key; not counted. */
const LATENCY_MS = 20;
/** Path of another build's executable, to measure beside this one. */
const { EARLIER_AGENT: EARLIER } = process.env;

async function run({ directory, quick, rounds = quick ? 3 : 15, progress }: BenchOptions): Promise<string> {
  const keyDirectory = join(directory, 'keys');
  const embedded = await startKmsProcess();
  await embedded.makeKeys(keyDirectory, 1, 1).finally(() => embedded.close());
  const certificates = makeCertificates(directory);
  const plain = await startStandIn();
  const tls = await startStandIn(certificates);
  try {
    for (const kms of [plain, tls]) {
      await kms.load(answersOf(keyDirectory));
      await kms.setLatency(LATENCY_MS);
    }
    const executable = join(directory, 'agent');
    copyFileSync(AGENT, executable);
    const empty = join(directory, 'empty.cjs');
    writeFileSync(empty, '');
    // No shared files, which would need the SDK.
    const environment = { ...TEST_CREDENTIALS, HOME: directory };
    const agent = (
      name: string,
      command: readonly string[],
      how: Pick<AgentQuestion, 'args' | 'listenIn'> = {},
      kms: StandIn = plain,
    ): Candidate => ({
      name,
      run: async () => {
        await kms.take();
        const ask = { type: 'load' } as const;
        const found = await runAgent({
          command,
          keyDirectory,
          kmsUrl: kms.url,
          ask,
          logLevel: 'Trace',
          environment: kms === tls ? { ...environment, AWS_CA_BUNDLE: certificates.authority } : environment,
          ...how,
        });
        if (how.listenIn !== undefined) rmSync(how.listenIn, { recursive: true });
        const { calls } = await kms.take();
        if (found.keys !== 1 || calls !== 1) throw new Error(`${name}: ${found.keys} keys with ${calls} calls`);
        const { welcomeMs, firstCallMs, residentBytes, privateBytes } = found;
        return {
          ms: welcomeMs + firstCallMs - LATENCY_MS,
          residentMb: residentBytes / MB,
          privateMb: privateBytes / MB,
        };
      },
    });
    const listenIn = join(directory, 'run');
    const bun = bunExecutable(join(directory, 'bun'));
    const candidates = [
      { name: 'an empty Node.js process', run: async () => emptyProcess(empty) },
      agent('the executable, with a JIT', [executable], { args: JIT }),
      agent('the executable, without', [executable]),
      agent('over TLS, with a JIT', [executable], { args: JIT }, tls),
      agent('over TLS, without', [executable], {}, tls),
      ...(EARLIER === undefined
        ? []
        : [
            agent('the earlier executable, with a JIT', [EARLIER], { args: JIT }),
            agent('the earlier executable, without', [EARLIER]),
            agent('the earlier executable over TLS, with a JIT', [EARLIER], { args: JIT }, tls),
          ]),
      ...(bun === undefined
        ? []
        : [
            agent('listening: the executable, with a JIT', [executable], { args: JIT, listenIn }),
            agent('listening: an executable made by Bun', [bun], { listenIn }),
          ]),
    ];
    const figures = new Map(candidates.map((candidate): [Candidate, Figures[]] => [candidate, []]));
    for (let round = 0; round < rounds; round += 1) {
      progress(`round ${round + 1} of ${rounds}`);
      for (const [candidate, found] of figures) found.push(await candidate.run());
    }
    const reference = [...figures.values()][0]?.map(({ ms }) => ms) ?? [];
    const rows = [...figures].map(([{ name }, found]) => {
      const ms = found.map((each) => each.ms);
      return [
        name,
        withSpread(ms, 0),
        withSpread(ratios(ms, reference), 2),
        ...(['residentMb', 'privateMb'] as const).map((which) => {
          const all = found.map((each) => each[which]);
          return Number.isNaN(all[0]) ? '' : median(all).toFixed(0);
        }),
      ];
    });
    return table(['', 'ms', 'ratio', 'resident MB', 'of them private'], rows);
  } finally {
    for (const kms of [plain, tls]) await kms.close();
  }
}

/**
 * The same code for another runtime, where its compiler is at hand. Bun leaves the descriptor that the plugin hands over
 * alone and ends, so that it is compared with an agent that listens.
 */
function bunExecutable(path: string): string | undefined {
  const main = join(import.meta.dirname, '../src/cli/main.ts');
  const args = ['build', '--compile', '--minify', '--bytecode', '--target=bun', main, '--outfile', path];
  return spawnSync('bun', args, { stdio: 'ignore' }).status === 0 ? path : undefined;
}

function emptyProcess(script: string): Figures {
  const startMs = performance.now();
  const { status } = spawnSync(process.execPath, [script], { stdio: 'ignore', env: {} });
  if (status !== 0) throw new Error(`an empty process ended with ${status}`);
  return { ms: performance.now() - startMs, residentMb: Number.NaN, privateMb: Number.NaN };
}

export const agent: Section = { name: 'agent', title: 'From the start of the agent to its first key', run };
