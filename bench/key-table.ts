/** The plugin's key table by itself, with up to 100,000 versions: plugin/test/keys/bench.c, a process for each size and round. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { BenchOptions, Section } from './section.ts';
import { median, ratios, table, withSpread } from './statistics.ts';

const run = promisify(execFile);
const PLUGIN = join(import.meta.dirname, '../plugin');
const PROGRAM = '../build/plugin-test/bench';

interface Size {
  readonly ids: number;
  readonly versions: number;
}

/** Lookup times are compared with those of the first. */
const SIZES: readonly Size[] = [
  { ids: 1, versions: 1 },
  { ids: 100, versions: 1 },
  { ids: 100, versions: 10 },
  { ids: 100, versions: 100 },
  { ids: 100, versions: 1000 },
  { ids: 100_000, versions: 1 },
];

const FIGURES = [
  'latest_few',
  'get_few',
  'latest_any',
  'get_any',
  'publish_median',
  'publish_longest',
  'resident',
  'locked',
  'lock_error',
] as const;
type Figure = (typeof FIGURES)[number];
/** A value for each round. */
type Figures = Readonly<Record<Figure, number[]>>;

const noFigures = (): Figures => ({
  latest_few: [],
  get_few: [],
  latest_any: [],
  get_any: [],
  publish_median: [],
  publish_longest: [],
  resident: [],
  locked: [],
  lock_error: [],
});

async function measure({ ids, versions }: Size, figures: Figures): Promise<void> {
  const { stdout } = await run(join(PLUGIN, PROGRAM), [String(ids), String(versions)]);
  for (const name of FIGURES) {
    const value = new RegExp(`^${name} (-?[0-9.]+)$`, 'm').exec(stdout)?.[1];
    if (value === undefined) throw new Error(`plugin/test/keys/bench.c printed no ${name}:\n${stdout}`);
    figures[name].push(Number(value));
  }
}

const sizeText = ({ ids, versions }: Size): string =>
  `${(ids * versions).toLocaleString('en')} (${ids.toLocaleString('en')} × ${versions.toLocaleString('en')})`;

const scaled = (values: readonly number[], factor: number): number[] => values.map((value) => value * factor);

async function runKeyTable({ quick, rounds = quick ? 3 : 11, progress }: BenchOptions): Promise<string> {
  await run('make', ['-s', '-C', PLUGIN, PROGRAM]);
  const results = SIZES.map((size) => ({ size, figures: noFigures() }));
  const smallest = results[0]?.figures ?? noFigures();
  for (let round = 1; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`);
    for (const { size, figures } of results) await measure(size, figures);
  }
  const lookups = results.map(({ size, figures }) => [
    sizeText(size),
    withSpread(figures.latest_few, 1),
    withSpread(ratios(figures.latest_few, smallest.latest_few), 2),
    withSpread(figures.get_few, 1),
    withSpread(ratios(figures.get_few, smallest.get_few), 2),
    withSpread(figures.latest_any, 1),
    withSpread(figures.get_any, 1),
  ]);
  const changes = results.map(({ size, figures }) => [
    sizeText(size),
    withSpread(figures.publish_median, 0),
    withSpread(scaled(figures.publish_longest, 1e-6), 2),
    (median(figures.resident) / 2 ** 20).toFixed(2),
    (median(figures.locked) / 2 ** 20).toFixed(2),
    size.ids * size.versions < 1000 ? '–' : (median(figures.resident) / size.ids / size.versions).toFixed(0),
  ]);
  const refused = results.some(({ figures }) => figures.lock_error.some((error) => error !== 0));
  return `${table(
    [
      'versions (ids × versions of each)',
      'latest version of 64 ids, ns',
      'ratio',
      'key of 64 versions, ns',
      'ratio',
      'latest version of any id, ns',
      'key of any version, ns',
    ],
    lookups,
  )}
${table(
  ['versions', 'a new version, median, ns', 'the longest, ms', 'resident, MiB', 'of it locked, MiB', 'bytes a version'],
  changes,
)}
${refused ? '**The system refused to lock some of the memory of the keys** (`RLIMIT_MEMLOCK`).' : 'The system locked all memory of keys that it was asked to.'}
`;
}

export const keyTable: Section = {
  name: 'key-table',
  title: 'The key table with up to 100,000 versions',
  run: runKeyTable,
};
