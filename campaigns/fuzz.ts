/**
 * Fuzzes both ends of docs/protocol.md, seeded with real traffic, and prints what was executed.
 *   node campaigns/fuzz.ts [--seconds N | --executions N]
 * The plugin's end by libFuzzer under sanitizers, the agent's by fast-check, and the readers of data files for a
 * moment; `npm run fuzz:readers` is for more. What makes one fail is kept in build/fuzz.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { BUILD } from '../harness/scratch-server.ts';
import { pluginSeeds } from '../harness/traffic.ts';
import { AGENT_PROPERTIES } from '../test/fuzz/agent-properties.ts';
import { fuzzReaders } from './fuzz-readers.ts';

/** Shares of the seconds and of the executions: slow targets cover most of the code. */
const SHARES = {
  client: { ofSeconds: 0.3, ofExecutions: 0.1 },
  frame: { ofSeconds: 0.1, ofExecutions: 0.35 },
  input: { ofSeconds: 0.1, ofExecutions: 0.5 },
  decoding: { ofSeconds: 0.15, ofExecutions: 0.02 },
  parsing: { ofSeconds: 0.1, ofExecutions: 0.025 },
  session: { ofSeconds: 0.15, ofExecutions: 0.004 },
  readers: { ofSeconds: 0.015, ofExecutions: 0.001 },
} as const;
type Target = keyof typeof SHARES;

const out = join(BUILD, 'fuzz');
const { values } = parseArgs({ options: { seconds: { type: 'string' }, executions: { type: 'string' } } });
const executions = values.executions === undefined ? undefined : Number(values.executions);
const seconds = Number(values.seconds ?? 60);
if (!(seconds > 0) || (executions !== undefined && !(executions > 0)))
  throw new Error('--seconds and --executions expect a number above 0');

let failed = false;

function runs(target: Target): number {
  return Math.ceil((executions ?? 0) * SHARES[target].ofExecutions);
}

/** Returns how many inputs were executed. */
function fuzzPlugin(target: 'client' | 'frame' | 'input'): number {
  const corpus = join(out, target);
  const found = join(out, `found-${target}-`);
  mkdirSync(corpus, { recursive: true });
  if (target !== 'input')
    pluginSeeds()[target].forEach((seed, i) => {
      writeFileSync(join(corpus, `seed-${i}`), seed);
    });
  const limit =
    executions === undefined
      ? `-max_total_time=${Math.ceil(seconds * SHARES[target].ofSeconds)}`
      : `-runs=${runs(target)}`;
  const { status, stderr } = spawnSync(
    join(BUILD, 'fuzzers', target),
    [limit, '-print_final_stats=1', '-max_len=4096', `-artifact_prefix=${found}`, corpus],
    { encoding: 'utf8', maxBuffer: 2 ** 28 },
  );
  if (status !== 0) {
    failed = true;
    console.log(stderr.split('\n').slice(-60).join('\n'));
  }
  return Number(/number_of_executed_units: *(\d+)/.exec(stderr)?.[1] ?? 0);
}

async function fuzzAgent(target: keyof typeof AGENT_PROPERTIES): Promise<number> {
  const property: fc.IRawProperty<unknown> = AGENT_PROPERTIES[target];
  const limits =
    executions === undefined
      ? {
          numRuns: 2 ** 31,
          interruptAfterTimeLimit: seconds * 1000 * SHARES[target].ofSeconds,
          markInterruptAsFailure: false,
        }
      : { numRuns: runs(target) };
  const result = await fc.check(property, limits);
  if (result.failed) {
    failed = true;
    const file = join(out, `found-${target}.txt`);
    writeFileSync(file, fc.defaultReportMessage(result) ?? '');
    console.log(`${fc.defaultReportMessage(result)}\nkept in ${file}`);
  }
  return result.numRuns;
}

function print(title: string, counts: Record<string, number>): number {
  const sum = Object.values(counts).reduce((a, b) => a + b, 0);
  const each = Object.entries(counts).map(([target, count]) => `${target} ${count.toLocaleString('en')}`);
  console.log(`${title}: ${sum.toLocaleString('en')} executions (${each.join(', ')})`);
  return sum;
}

execFileSync('make', ['-s', '-C', join(BUILD, '../plugin'), 'fuzzers'], { stdio: 'inherit' });
mkdirSync(out, { recursive: true });
const plugin = print('plugin', {
  client: fuzzPlugin('client'),
  frame: fuzzPlugin('frame'),
  input: fuzzPlugin('input'),
});
const agent = print('agent', {
  decoding: await fuzzAgent('decoding'),
  parsing: await fuzzAgent('parsing'),
  session: await fuzzAgent('session'),
});
const readers = await fuzzReaders({
  limit: executions === undefined ? { ms: seconds * 1000 * SHARES.readers.ofSeconds } : { executions: runs('readers') },
});
failed ||= readers.failed;
const files = print('readers of data files', readers.executions);
print('all', { plugin, agent, files });
const kept = existsSync(out) ? readdirSync(out).filter((file) => file.startsWith('found-')) : [];
if (failed) console.log(`inputs that failed: ${kept.map((file) => join(out, file)).join(' ')}`);
process.exitCode = failed || plugin === 0 || agent === 0 || files === 0 ? 1 : 0;
