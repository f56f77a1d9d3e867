/** Starts of a real server with up to 10,000 key versions, with and without the sealed key cache. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pluginOptions, ScratchServer } from '../harness/scratch-server.ts';
import { KEY_CACHE_FILE } from '../src/format/key-file-name.ts';
import { type KmsProcess, startKmsProcess } from './kms-process.ts';
import type { BenchOptions, Section } from './section.ts';
import { median, table, withSpread } from './statistics.ts';
import { type Shape, versionsOf } from './stored-keys.ts';
import { installTemplate } from './template.ts';

const SHAPES: readonly Shape[] = [
  { ids: 1, versions: 1 },
  { ids: 10, versions: 10 },
  { ids: 100, versions: 10 },
  { ids: 100, versions: 100 },
];
const QUICK_SHAPES: readonly Shape[] = [
  { ids: 1, versions: 1 },
  { ids: 100, versions: 10 },
];
const LATENCIES_MS = [0, 20, 100];

type Cache = 'OFF' | 'ON';

interface Measured {
  readonly seconds: number[];
  readonly calls: Set<number>;
}

/** A stopped server with that many keys and, in one of its tables, a row under one of them. */
class Candidate {
  readonly shape: Shape;
  readonly #server: ScratchServer;
  readonly #kms: KmsProcess;
  readonly #found = new Map<string, Measured>();

  private constructor(shape: Shape, server: ScratchServer, kms: KmsProcess) {
    this.shape = shape;
    this.#server = server;
    this.#kms = kms;
  }

  static async make(shape: Shape, directory: string, template: string, kms: KmsProcess): Promise<Candidate> {
    const server = new ScratchServer({ directory, options: {} });
    server.copyDatabase(template);
    await kms.makeKeys(server.datadir, shape.ids, shape.versions);
    const candidate = new Candidate(shape, server, kms);
    // The first start with the cache is an ordinary one, after which the agent writes it.
    server.options = candidate.#options('ON');
    try {
      await server.start();
      await server.sql('CREATE DATABASE d');
      await server.sql('CREATE TABLE d.t (i INT) ENGINE=InnoDB ENCRYPTED=YES ENCRYPTION_KEY_ID=1');
      await server.sql('INSERT INTO d.t VALUES (42)');
      const endMs = performance.now() + 60_000;
      while (!existsSync(join(server.datadir, KEY_CACHE_FILE))) {
        if (performance.now() > endMs) throw new Error(`no key cache of ${versionsOf(shape)} versions was written`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await server.stop();
    } finally {
      await server.kill();
    }
    return candidate;
  }

  async start(cache: Cache, latencyMs: number): Promise<void> {
    const server = this.#server;
    await this.#kms.setLatency(latencyMs);
    await this.#kms.takeCalls();
    server.options = this.#options(cache);
    const started = performance.now();
    try {
      await server.start();
      const seconds = (performance.now() - started) / 1000;
      const calls = await this.#kms.takeCalls();
      const loaded = Number(await server.variable('STATUS', 'Aws_key_management_versions_loaded'));
      const [row] = await server.sql('SELECT i FROM d.t');
      const expected = versionsOf(this.shape);
      if (loaded !== expected || row?.['i'] !== 42) throw new Error(`${loaded} of ${expected} keys, row ${row?.['i']}`);
      const measured = this.measured(cache, latencyMs);
      measured.seconds.push(seconds);
      measured.calls.add(calls);
      await server.stop();
    } finally {
      await server.kill();
    }
  }

  measured(cache: Cache, latencyMs: number): Measured {
    const key = `${cache} ${latencyMs}`;
    const found = this.#found.get(key) ?? { seconds: [], calls: new Set() };
    this.#found.set(key, found);
    return found;
  }

  #options(cache: Cache) {
    return pluginOptions(this.#kms.url, {
      aws_key_management_sealed_key_cache: cache,
      aws_key_management_start_timeout: 600,
    });
  }
}

async function runSealedCache({ quick, rounds = quick ? 1 : 3, directory, progress }: BenchOptions): Promise<string> {
  const template = await installTemplate(directory);
  const kms = await startKmsProcess();
  try {
    const candidates: Candidate[] = [];
    for (const shape of quick ? QUICK_SHAPES : SHAPES) {
      progress(`making ${versionsOf(shape)} key versions`);
      candidates.push(await Candidate.make(shape, join(directory, `keys-${versionsOf(shape)}`), template, kms));
    }
    const latencies = quick ? [20] : LATENCIES_MS;
    for (let round = 1; round <= rounds; round += 1) {
      progress(`round ${round} of ${rounds}`);
      for (const latencyMs of latencies) {
        for (const candidate of candidates) {
          for (const cache of ['OFF', 'ON'] as const) await candidate.start(cache, latencyMs);
        }
      }
    }
    const rows = latencies.flatMap((latencyMs) =>
      candidates.map((each) => row(each, candidates[0] ?? each, latencyMs)),
    );
    return table(
      [
        'KMS latency, key versions',
        'cache OFF: calls',
        'start, s',
        'more than with one version, s',
        'cache ON: calls',
        'start, s',
        'more than with one version, s',
      ],
      rows,
    );
  } finally {
    await kms.close();
  }
}

function row(candidate: Candidate, smallest: Candidate, latencyMs: number): string[] {
  const versions = versionsOf(candidate.shape).toLocaleString('en');
  return [
    `${latencyMs} ms, ${versions}`,
    ...(['OFF', 'ON'] as const).flatMap((cache) => {
      const { seconds, calls } = candidate.measured(cache, latencyMs);
      const one = smallest.measured(cache, latencyMs).seconds;
      const more = candidate === smallest ? '–' : (median(seconds) - median(one)).toFixed(2);
      return [[...calls].map((count) => count.toLocaleString('en')).join(' or '), withSpread(seconds, 2), more];
    }),
  ];
}

export const sealedCache: Section = {
  name: 'sealed-cache',
  title: 'Starting with the sealed key cache',
  run: runSealedCache,
};
