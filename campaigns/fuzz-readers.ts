/**
 * Fuzzes the readers of data files and prints what was executed; `npm run fuzz` does it for a moment.
 *   node campaigns/fuzz-readers.ts [--executions N] [--only GROUP,…] [--data DIRECTORY] [--seed N]
 * N executions of each group. The files of a server's data directory are seeds, too, when one is given. A group fails by
 * a wrong outcome, by an input that takes seconds, and by memory that grows. The input is kept in build/fuzz. A seed that
 * was printed repeats the inputs.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { BUILD } from '../harness/scratch-server.ts';
import { type DataGroup, dataProperties } from '../test/fuzz/data-properties.ts';
import { dataSeeds } from '../test/fuzz/data-seeds.ts';

/** Bytes that may be in use longer than an execution, with buffers: caches of the engine and of the library. */
const MOST_GROWTH = 8_000_000;
/** Share of the first executions. */
const WARM_UP = 0.1;
/** Executions between two looks at the memory. */
const SLICE = 50_000;
const MB = 1_000_000;
const COLLECTED_MS = 50;

export interface ReadersRun {
  readonly executions: Readonly<Partial<Record<DataGroup, number>>>;
  readonly failed: boolean;
}

interface Limit {
  /** At most so many executions, or milliseconds, for each group. */
  readonly limit: { readonly executions: number } | { readonly ms: number };
  readonly seed?: number | undefined;
}

/** Prints a line for each part of a group. @param directory a server's data directory */
export async function fuzzReaders(
  { limit, seed = Date.now() | 0 }: Limit,
  only?: readonly string[],
  directory?: string,
  print: (line: string) => void = () => undefined,
): Promise<ReadersRun> {
  const executions: Partial<Record<DataGroup, number>> = {};
  let failed = false;
  let longestMs = 0;
  const properties = dataProperties(dataSeeds(directory), (ms) => {
    longestMs = Math.max(longestMs, ms);
  });
  const unknown = only?.find((name) => !(name in properties));
  if (unknown !== undefined) throw new Error(`there is no group ${unknown}`);
  for (const [name, property] of Object.entries(properties)) {
    const group = name as DataGroup;
    if (only !== undefined && !only.includes(name)) continue;
    longestMs = 0;
    let [runs, before, growth] = [0, 0, 0];
    let hasFailed = false;
    for (const [slice, part] of slices(limit).entries()) {
      const done = await fuzz(group, property, { limit: part, seed: seed + slice });
      runs += done.runs;
      const inUse = await memoryInUse();
      if (slice === 0) before = inUse;
      growth = inUse - before;
      hasFailed = done.failed || growth > MOST_GROWTH;
      const resident = `${(process.memoryUsage.rss() / MB).toFixed(0)} MB`;
      print(
        `${group}: ${runs.toLocaleString('en')} executions (seed ${seed}), the longest ${longestMs.toFixed(0)} ms, ${(growth / MB).toFixed(1)} MB more in use, ${resident} resident`,
      );
      if (hasFailed) break;
    }
    executions[group] = runs;
    if (growth > MOST_GROWTH) console.log(`${group}: the memory in use has grown by ${growth} bytes`);
    failed ||= hasFailed;
  }
  return { executions, failed };
}

/** The first part is short: after it, the memory in use is what it should stay. */
function slices(limit: Limit['limit']): readonly Limit['limit'][] {
  if ('ms' in limit) return [{ ms: limit.ms * WARM_UP }, { ms: limit.ms * (1 - WARM_UP) }];
  const first = Math.ceil(Math.min(limit.executions, SLICE) * WARM_UP);
  const rest = limit.executions - first;
  const parts = Math.ceil(rest / SLICE);
  const sizes = Array.from({ length: parts }, (_, at) => Math.min(SLICE, rest - at * SLICE));
  return [first, ...sizes].map((executions) => ({ executions }));
}

async function fuzz(
  group: DataGroup,
  property: fc.IRawProperty<unknown>,
  { limit, seed }: { readonly limit: Limit['limit']; readonly seed: number },
): Promise<{ readonly runs: number; readonly failed: boolean }> {
  const result = await fc.check(
    property,
    'executions' in limit
      ? { seed, numRuns: limit.executions }
      : { seed, numRuns: 2 ** 31, interruptAfterTimeLimit: limit.ms, markInterruptAsFailure: false },
  );
  if (result.failed) {
    const file = join(BUILD, 'fuzz', `found-${group}.txt`);
    mkdirSync(join(BUILD, 'fuzz'), { recursive: true });
    writeFileSync(file, fc.defaultReportMessage(result) ?? '');
    console.log(`${group} failed (seed ${result.seed}, path ${result.counterexamplePath}): kept in ${file}`);
    console.log(result.errorInstance instanceof Error ? result.errorInstance.stack : result.errorInstance);
  }
  return { runs: result.numRuns, failed: result.failed };
}

/** Bytes; objects that are finalized go with the second collection. */
async function memoryInUse(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  for (let times = 0; times < 3 && typeof collect === 'function'; times += 1) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, COLLECTED_MS));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      executions: { type: 'string' },
      only: { type: 'string' },
      data: { type: 'string' },
      seed: { type: 'string' },
    },
  });
  const executions = Number(values.executions ?? 10_000);
  if (!(executions > 0)) throw new Error('--executions expects a number above 0');
  const start = performance.now();
  const seconds = (): string => `${((performance.now() - start) / 1000).toFixed(0)} s`;
  const seed = values.seed === undefined ? undefined : Number(values.seed);
  if (seed !== undefined && !Number.isInteger(seed)) throw new Error('--seed expects an integer');
  const run = await fuzzReaders({ limit: { executions }, seed }, values.only?.split(','), values.data, (line) => {
    console.log(`${line}, ${seconds()}`);
  });
  console.log(`${seconds()}, ${run.failed ? 'something failed' : 'nothing found'}`);
  process.exitCode = run.failed ? 1 : 0;
}
