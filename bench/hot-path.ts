/**
 * Measures how long a storage engine waits for a key: the server's encryption service with this plugin and with others,
 * from several threads, without changes and during rotations.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { ScratchServer } from '../harness/scratch-server.ts';
import { DEFAULT_REGION, type DevKms } from '../src/dev-kms/index.ts';
import { keyBytes, type Measured, measure } from './encryption-bench.ts';
import type { BenchOptions, Section } from './section.ts';
import { Servers } from './servers.ts';
import { ratios, table, withSpread } from './statistics.ts';

const OPERATIONS = { latest: 'encryption_key_get_latest_version', get: 'encryption_key_get' } as const;
const THREADS = [1, 2, 4] as const;
const REFERENCE = 'file_key_management';

interface Candidate {
  readonly name: string;
  readonly server: ScratchServer;
  readonly rotates: boolean;
}

/** Checks that every plugin with selectable keys returns the key that KMS holds. */
async function checkKeys(
  kms: DevKms,
  ours: ScratchServer,
  key: Uint8Array,
  others: readonly ScratchServer[],
): Promise<void> {
  const ciphertextBlob = readFileSync(join(ours.datadir, 'aws-kms-key.1.1'));
  const { plaintext } = kms.kms.decrypt({ region: DEFAULT_REGION, ciphertextBlob });
  if (!Buffer.from(key).equals(plaintext)) throw new Error('the plugin has another key than KMS');
  for (const other of others) {
    if (!Buffer.from(key).equals(await keyBytes(other, 1))) throw new Error(`another key in ${other.directory}`);
  }
}

/** Rotates key 1 again and again while `work` goes on; returns its result and the number of rotations. */
async function whileRotating<T>(server: ScratchServer, work: Promise<T>): Promise<{ result: T; rotations: number }> {
  let done = false;
  const rotate = async (): Promise<number> => {
    let rotations = 0;
    for (; !done; rotations += 1) await server.sql('SET GLOBAL aws_key_management_rotate_key=1');
    return rotations;
  };
  const finished = work.finally(() => {
    done = true;
  });
  const [result, rotations] = await Promise.all([finished, rotate()]);
  return { result, rotations };
}

/** Counts system calls with strace -c, for about a second of two threads that request latest versions and keys. */
async function systemCalls(server: ScratchServer): Promise<string> {
  const measuring = measure(server, 'both', 2500, 2);
  await pause(500);
  const threads = readdirSync(`/proc/${server.pid}/task`).filter(
    (task) => readFileSync(`/proc/${server.pid}/task/${task}/comm`, 'utf8').trim() === 'encryptionbench',
  );
  const strace = spawn('strace', ['-c', ...threads.flatMap((thread) => ['-p', thread])], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  strace.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = once(strace, 'close');
  await pause(1000);
  strace.kill('SIGINT');
  await ended;
  await measuring;
  const attached = [...said.matchAll(/^strace: Process \d+ attached/gm)].length;
  if (attached !== 2) throw new Error(`strace did not attach to two threads:\n${said}`);
  const counts = [...said.matchAll(/^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$/gm)].filter(
    ([, , name]) => name !== 'total',
  );
  return counts.length === 0
    ? 'none'
    : counts.map(([, count, name]) => `${name}: ${Number(count).toLocaleString('en')}`).join(', ');
}

type Operation = keyof typeof OPERATIONS;
type Results = ReadonlyMap<Candidate, Measured[]>;

async function measureInRounds(
  candidates: readonly Candidate[],
  operation: Operation,
  threads: number,
  { rounds, ms }: { rounds: number; ms: number },
): Promise<{ results: Results; rotations: number }> {
  const results = new Map(candidates.map((candidate) => [candidate, [] as Measured[]]));
  let rotations = 0;
  for (let round = 0; round < rounds; round += 1) {
    for (const [{ server, rotates }, measured] of results) {
      const measuring = measure(server, operation, ms, threads);
      if (!rotates) measured.push(await measuring);
      else {
        const rotated = await whileRotating(server, measuring);
        measured.push(rotated.result);
        rotations += rotated.rotations;
      }
    }
  }
  return { results, rotations };
}

function rows(results: Results, threads: number): string[][] {
  const reference = [...results].find(([{ name }]) => name === REFERENCE)?.[1] ?? [];
  const columns = (of: (measured: Measured) => number, measured: readonly Measured[]): string[] => [
    withSpread(measured.map(of), 1),
    withSpread(ratios(measured.map(of), reference.map(of)), 2),
  ];
  return [...results].map(([{ name }, measured]) => [
    name,
    String(threads),
    ...columns(({ cpuNs }) => cpuNs, measured),
    ...columns(({ ns }) => ns, measured),
  ]);
}

async function compare(servers: Servers, options: BenchOptions): Promise<string> {
  const { quick, progress } = options;
  const effort = { rounds: options.rounds ?? (quick ? 3 : 11), ms: quick ? 40 : 80 };
  progress('starting servers');
  const ours = await servers.ours('CBC');
  const keys = new Map([[1, await keyBytes(ours, 1)]]);
  const [key = new Uint8Array()] = keys.values();
  const [file, hashicorp] = [await servers.fileKeyManagement('CBC', keys), await servers.hashicorp(keys)];
  await checkKeys(servers.kms, ours, key, [file, hashicorp]);
  const still: readonly Candidate[] = [
    { name: 'aws_key_management', server: ours, rotates: false },
    { name: REFERENCE, server: file, rotates: false },
    { name: 'hashicorp_key_management', server: hashicorp, rotates: false },
    { name: 'example_key_management', server: await servers.example(), rotates: false },
  ];
  const calls: string[][] = [];
  for (const { name, server } of still) calls.push([name, await systemCalls(server)]);
  const candidates = [...still, { name: 'aws_key_management, rotating', server: ours, rotates: true }];
  const parts: string[] = [];
  let rotations = 0;
  for (const [operation, title] of [
    ['latest', OPERATIONS.latest],
    ['get', OPERATIONS.get],
  ] as const) {
    const lines: string[][] = [];
    for (const threads of THREADS) {
      progress(`${title}, threads: ${threads}`);
      const measured = await measureInRounds(candidates, operation, threads, effort);
      lines.push(...rows(measured.results, threads));
      rotations += measured.rotations;
    }
    parts.push(table([`\`${title}\``, 'threads', 'ns on a CPU', 'ratio', 'ns', 'ratio'], lines));
  }
  return `${parts.join('\n')}
${table(['of two threads in a second', 'system calls'], calls)}
While the rows *rotating* were measured, key 1 was rotated ${rotations} times.
`;
}

async function runHotPath(options: BenchOptions): Promise<string> {
  const servers = await Servers.open(options.directory);
  try {
    return await compare(servers, options);
  } finally {
    await servers.close();
  }
}

export const hotPath: Section = {
  name: 'hot-path',
  title: 'What a key costs a storage engine',
  run: runHotPath,
};
