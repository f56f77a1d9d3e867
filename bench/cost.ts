/** Counts the KMS calls of a real server, and the cost for a fleet. */
import { join } from 'node:path';
import { pluginOptions, ScratchServer } from '../harness/scratch-server.ts';
import { type CountedKms, MASTER_KEY, startCountedKms } from './counted-kms.ts';
import type { BenchOptions, Section } from './section.ts';
import { table } from './statistics.ts';
import { type Shape, storeKeys, versionsOf } from './stored-keys.ts';
import { installTemplate } from './template.ts';

/** AWS's list price in dollars, as published in 2024; requests that are free each month, and taxes, are left out. */
const DOLLARS_PER_REQUEST = 0.03 / 10_000;
const DOLLARS_PER_MASTER_KEY_YEAR = 12;
/** The watch of the master key once an hour, as aws_key_management_watch_interval has it. */
const LOOKS_PER_YEAR = 365 * 24;

export interface Fleet {
  readonly name: string;
  readonly servers: number;
  /** The shape of each server. */
  readonly shape: Shape;
  readonly startsPerYear: number;
  /** Rotations of all keys of a server. */
  readonly rotationsPerYear: number;
}

export const FLEETS: readonly Fleet[] = [
  { name: 'small', servers: 1, shape: { ids: 3, versions: 6 }, startsPerYear: 12, rotationsPerYear: 1 },
  { name: 'medium', servers: 20, shape: { ids: 20, versions: 13 }, startsPerYear: 12, rotationsPerYear: 4 },
  { name: 'large', servers: 1000, shape: { ids: 50, versions: 37 }, startsPerYear: 52, rotationsPerYear: 12 },
];

/** Numbers of KMS calls. */
export interface Counts {
  readonly start: number;
  /** A rotation of all keys, including the calls for the cache that follows. */
  readonly rotation: number;
  readonly look: number;
}

export function requestsPerYear(fleet: Fleet, { start, rotation, look }: Counts): number {
  return fleet.servers * (fleet.startsPerYear * start + fleet.rotationsPerYear * rotation + LOOKS_PER_YEAR * look);
}

export function dollarsPerYear(requests: number): number {
  return requests * DOLLARS_PER_REQUEST + DOLLARS_PER_MASTER_KEY_YEAR;
}

/** Milliseconds; longer than the agent waits for more keys before it writes the cache. */
const QUIET_MS = 1_500;
const WATCH_SECONDS = 3;

class Counter {
  readonly #kms: CountedKms;

  constructor(kms: CountedKms) {
    this.#kms = kms;
  }

  /** Counts calls during the action and until no more follow. */
  async #during(action: () => Promise<unknown>): Promise<number> {
    await this.#quiet();
    const before = this.#kms.count();
    await action();
    await this.#quiet();
    return this.#kms.count() - before;
  }

  async #quiet(): Promise<void> {
    let before = -1;
    for (let calls = this.#kms.count(); calls !== before; calls = this.#kms.count()) {
      before = calls;
      await pause(QUIET_MS);
    }
  }

  async count(directory: string, template: string, shape: Shape, cache: 'OFF' | 'ON'): Promise<Counts> {
    const server = new ScratchServer({ directory });
    server.copyDatabase(template);
    storeKeys(server.datadir, shape, this.#kms.kms, MASTER_KEY);
    const watching = (seconds: number): void => {
      server.options = pluginOptions(this.#kms.kms.url, {
        aws_key_management_sealed_key_cache: cache,
        aws_key_management_watch_interval: seconds,
        aws_key_management_start_timeout: 600,
      });
    };
    try {
      watching(0);
      await server.start();
      await this.#quiet();
      const start = await this.#during(() => server.restart());
      const loaded = Number(await server.variable('STATUS', 'Aws_key_management_versions_loaded'));
      if (loaded !== versionsOf(shape)) throw new Error(`${loaded} of ${versionsOf(shape)} key versions`);
      const rotation = await this.#during(() => server.sql('SET GLOBAL aws_key_management_rotate_key = -1'));
      watching(WATCH_SECONDS);
      await server.restart();
      const { calls } = this.#kms.kms;
      calls.clear();
      // The first look also makes a daily use of the key, which is no dry run.
      const looks = (): number => calls.list().filter(({ dryRun }) => dryRun).length;
      while (looks() === 0) await pause(50);
      await pause(1_000);
      const look = looks();
      await server.stop();
      return { start, rotation, look };
    } finally {
      await server.kill();
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const dollars = (amount: number): string =>
  `$${amount.toLocaleString('en', { maximumFractionDigits: 2, minimumFractionDigits: 2 })}`;
const whole = (count: number): string => count.toLocaleString('en');

async function runCost({ quick, directory, progress }: BenchOptions): Promise<string> {
  const template = await installTemplate(directory);
  const kms = await startCountedKms();
  const counter = new Counter(kms);
  try {
    const rows: string[][] = [];
    for (const fleet of quick ? FLEETS.slice(0, 1) : FLEETS) {
      for (const cache of ['OFF', 'ON'] as const) {
        progress(`${fleet.name} fleet, cache ${cache}`);
        const counts = await counter.count(join(directory, `${fleet.name}-${cache}`), template, fleet.shape, cache);
        rows.push(row(fleet, cache, counts));
      }
    }
    return table(
      [
        'fleet, cache',
        'calls of a start',
        'of a rotation of all keys',
        'of a look at the master key',
        'starts a year, all servers',
        'of these calls',
        'rotations',
        'looks',
        'together, requests',
        'requests, $',
        'with the master key, $',
      ],
      rows,
    );
  } finally {
    await kms.kms.close();
  }
}

function row(fleet: Fleet, cache: string, counts: Counts): string[] {
  const { name, servers, shape, startsPerYear, rotationsPerYear } = fleet;
  const requests = requestsPerYear(fleet, counts);
  return [
    `${name}: ${whole(servers)} × ${whole(versionsOf(shape))} versions, ${cache}`,
    whole(counts.start),
    whole(counts.rotation),
    whole(counts.look),
    whole(servers * startsPerYear),
    whole(servers * startsPerYear * counts.start),
    whole(servers * rotationsPerYear * counts.rotation),
    whole(servers * LOOKS_PER_YEAR * counts.look),
    whole(requests),
    dollars(requests * DOLLARS_PER_REQUEST),
    dollars(dollarsPerYear(requests)),
  ];
}

export const cost: Section = {
  name: 'cost',
  title: 'What KMS costs',
  run: runCost,
};
