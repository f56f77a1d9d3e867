/**
 * Fuzzes the readers of data files and prints what was executed; `npm run fuzz` does it for a moment.
 *   node campaigns/fuzz-readers.ts [--executions N] [--only GROUP,…] [--data DIRECTORY]
 * N is that of each group. The files of a server's data directory are seeds, too, when one is given. A group fails by a
 * wrong outcome, by an input that takes seconds, and by memory that grows. The input is kept in build/fuzz.
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

/** Bytes of the heap that may be in use longer than an execution: caches of the engine and of the library. */
const MOST_GROWTH = 8_000_000;
/** Share of the executions after which the memory in use is what it should stay. */
const WARM_UP = 0.1;
const MB = 1_000_000;
const COLLECTED_MS = 50;

export interface ReadersRun {
  readonly executions: Readonly<Partial<Record<DataGroup, number>>>;
  readonly failed: boolean;
}

/** @param limit of each group @param directory a server's data directory */
export async function fuzzReaders(
  limit: { readonly executions: number } | { readonly ms: number },
  only?: readonly string[],
  directory?: string,
  report: (group: DataGroup, executions: number, heap: string) => void = () => undefined,
): Promise<ReadersRun> {
  const executions: Partial<Record<DataGroup, number>> = {};
  let failed = false;
  const properties = dataProperties(dataSeeds(directory));
  const unknown = only?.find((name) => !(name in properties));
  if (unknown !== undefined) throw new Error(`there is no group ${unknown}`);
  for (const [name, property] of Object.entries(properties)) {
    const group = name as DataGroup;
    if (only !== undefined && !only.includes(name)) continue;
    const first = await fuzz(group, property, limit, WARM_UP);
    const before = await heapInUse();
    const rest = first.failed ? first : await fuzz(group, property, limit, 1 - WARM_UP);
    const growth = (await heapInUse()) - before;
    executions[group] = first.runs + (rest === first ? 0 : rest.runs);
    const grown = `${(growth / MB).toFixed(1)} MB`;
    if (growth > MOST_GROWTH) console.log(`${group}: the heap has grown by ${grown}`);
    report(group, executions[group] ?? 0, `heap ${grown}`);
    failed ||= rest.failed || growth > MOST_GROWTH;
  }
  return { executions, failed };
}

async function fuzz(
  group: DataGroup,
  property: fc.IRawProperty<unknown>,
  limit: Parameters<typeof fuzzReaders>[0],
  share: number,
): Promise<{ readonly runs: number; readonly failed: boolean }> {
  const result = await fc.check(
    property,
    'executions' in limit
      ? { numRuns: Math.ceil(limit.executions * share) }
      : { numRuns: 2 ** 31, interruptAfterTimeLimit: limit.ms * share, markInterruptAsFailure: false },
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
async function heapInUse(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  for (let times = 0; times < 3 && typeof collect === 'function'; times += 1) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, COLLECTED_MS));
  }
  return process.memoryUsage().heapUsed;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { executions: { type: 'string' }, only: { type: 'string' }, data: { type: 'string' } },
  });
  const executions = Number(values.executions ?? 10_000);
  if (!(executions > 0)) throw new Error('--executions expects a number above 0');
  const start = performance.now();
  const seconds = (): string => `${((performance.now() - start) / 1000).toFixed(0)} s`;
  const run = await fuzzReaders({ executions }, values.only?.split(','), values.data, (group, count, heap) => {
    console.log(`${group}: ${count.toLocaleString('en')} executions, ${heap}, ${seconds()}`);
  });
  console.log(
    `${((performance.now() - start) / 1000).toFixed(0)} s, ${run.failed ? 'something failed' : 'nothing found'}`,
  );
  process.exitCode = run.failed ? 1 : 0;
}
