/** sysbench's OLTP loads on servers that differ in the key plugin and the cipher alone. */
import { join } from 'node:path';
import type { ScratchServer } from '../scripts/lib/scratch-server.ts';
import { keyBytes } from './encryption-bench.ts';
import {
  checksums,
  encryptedTables,
  type Load,
  measureLoad,
  prepare,
  type Throughput,
  WORKLOADS,
  type Workload,
} from './oltp.ts';
import { type Profile, profile } from './profile.ts';
import type { BenchOptions, Section } from './section.ts';
import { type Cipher, Servers } from './servers.ts';
import { ratios, table, withSpread } from './statistics.ts';

interface Candidate {
  readonly name: string;
  /** Undefined: nothing is encrypted. */
  readonly cipher: Cipher | undefined;
  readonly who: 'ours' | 'theirs' | 'nobody';
  readonly server: ScratchServer;
}

interface Phase {
  readonly title: string;
  readonly pool: string;
}

const CIPHERS: readonly Cipher[] = ['CBC', 'CTR'];

const PHASES: readonly Phase[] = [
  { title: 'The buffer pool holds everything', pool: '256M' },
  { title: 'The data is larger than the buffer pool', pool: '16M' },
];

/** What the processor does is to decide, and not the disk: nobody waits for it, and pages come from the system's cache. */
const COMMON = {
  innodb_flush_log_at_trx_commit: 2,
  innodb_flush_method: 'fsync',
  // Small, so that pages have to be written back all the time.
  innodb_log_file_size: '16M',
  innodb_encryption_threads: 0,
} as const;

const ENCRYPTED = { innodb_encrypt_tables: 'ON', innodb_encrypt_log: 'ON' } as const;

async function startAll(servers: Servers): Promise<Candidate[]> {
  const candidates: Candidate[] = [
    { name: 'no encryption', cipher: undefined, who: 'nobody', server: await servers.plain() },
  ];
  for (const cipher of CIPHERS) {
    const ours = await servers.ours(cipher, ENCRYPTED);
    const theirs = await servers.fileKeyManagement(cipher, new Map([[1, await keyBytes(ours, 1)]]), ENCRYPTED);
    candidates.push({ name: `file_key_management, ${cipher}`, cipher, who: 'theirs', server: theirs });
    candidates.push({ name: `aws_key_management, ${cipher}`, cipher, who: 'ours', server: ours });
  }
  return candidates;
}

/** The same rows everywhere, encrypted where they should be. */
async function check(candidates: readonly Candidate[], load: Load): Promise<void> {
  const sums = new Set<string>();
  for (const { name, cipher, server } of candidates) {
    sums.add(await checksums(server, load));
    const [encrypted, expected] = [await encryptedTables(server), cipher === undefined ? 0 : load.tables];
    if (encrypted !== expected) throw new Error(`${name}: expected ${expected} encrypted tables, got ${encrypted}`);
  }
  if (sums.size !== 1) throw new Error(`the servers hold different rows: ${[...sums].join('; ')}`);
}

/** All other servers are stopped meanwhile: one that writes its pages back would disturb. */
async function alone<T>({ server }: Candidate, work: () => Promise<T>): Promise<T> {
  process.kill(server.pid, 'SIGCONT');
  try {
    return await work();
  } finally {
    process.kill(server.pid, 'SIGSTOP');
  }
}

type Results = ReadonlyMap<Candidate, Throughput[]>;

function resultRows(results: Results): string[][] {
  const values = (who: Candidate['who'], cipher: Cipher | undefined): Throughput[] =>
    [...results].find(([candidate]) => candidate.who === who && candidate.cipher === cipher)?.[1] ?? [];
  return [...results].map(([{ name, cipher }, measured]) => {
    const columns = (of: (each: Throughput) => number, digits: number): string[] => [
      withSpread(measured.map(of), digits),
      withSpread(ratios(measured.map(of), values('nobody', undefined).map(of)), 3),
      cipher === undefined ? '–' : withSpread(ratios(measured.map(of), values('theirs', cipher).map(of)), 3),
    ];
    return [name, ...columns((each) => each.transactionsPerSecond, 0), ...columns((each) => each.cpuMicroseconds, 0)];
  });
}

/** What encryption costs this plugin's server, and with how many pages. */
function costOfEncryption(workload: Workload, results: Results): string[] {
  const of = (figure: keyof Throughput, who: Candidate['who'], cipher?: Cipher): number[] =>
    [...results]
      .filter(([candidate]) => candidate.who === who && candidate.cipher === cipher)
      .flatMap(([, measured]) => measured.map((each) => each[figure]));
  const pages = (['encryptedPages', 'decryptedPages'] as const).map((figure) => of(figure, 'ours', 'CBC'));
  const none = of('cpuMicroseconds', 'nobody');
  const added = CIPHERS.map((cipher) =>
    of('cpuMicroseconds', 'ours', cipher).map((cpu, round) => cpu - (none[round] ?? Number.NaN)),
  );
  return [`\`${workload}\``, ...pages.map((each) => withSpread(each, 2)), ...added.map((each) => withSpread(each, 0))];
}

interface Plan {
  readonly load: Load;
  readonly rounds: number;
  readonly seconds: number;
  readonly workloads: readonly Workload[];
}

async function measureWorkload(
  candidates: readonly Candidate[],
  workload: Workload,
  { load, rounds, seconds }: Plan,
): Promise<Results> {
  const results = new Map(candidates.map((candidate) => [candidate, [] as Throughput[]]));
  for (let round = 0; round < rounds; round += 1) {
    // Back and forth, so that what drifts meets the first as often as the last.
    const order = round % 2 === 0 ? candidates : candidates.toReversed();
    for (const candidate of order) {
      const measured = await alone(candidate, () => measureLoad(candidate.server, workload, load, seconds));
      results.get(candidate)?.push(measured);
    }
  }
  return results;
}

const LIBRARIES = ['libcrypto.so.3', 'mariadbd', 'aws_key_management.so', '[kernel.kallsyms]', 'libc.so.6'];

function profileRow(name: string, sampled: Profile): string[] {
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;
  const shares = LIBRARIES.map((library) => sampled.get(library) ?? 0);
  const rest = [...sampled.values()].reduce((a, b) => a + b, 0) - shares.reduce((a, b) => a + b, 0);
  return [name, ...shares.map(percent), percent(Math.max(rest, 0))];
}

async function whereTheTimeGoes(candidates: readonly Candidate[], plan: Plan, directory: string): Promise<string> {
  const [workload = 'oltp_write_only'] = plan.workloads;
  const rows: string[][] = [];
  for (const candidate of candidates) {
    const { server, name } = candidate;
    const sampled = await alone(candidate, async () => {
      const busy = measureLoad(server, workload, plan.load, plan.seconds + 1);
      const sampling = profile(server.pid, join(directory, 'perf.data'), plan.seconds);
      await Promise.allSettled([busy, sampling]);
      return await sampling;
    });
    rows.push(profileRow(name, sampled));
  }
  return table(
    [`where the time of \`${workload}\` goes`, ...LIBRARIES.map((library) => `\`${library}\``), 'else'],
    rows,
  );
}

async function phaseText(
  phase: Phase,
  candidates: readonly Candidate[],
  plan: Plan,
  options: BenchOptions,
): Promise<string> {
  const { directory, progress } = options;
  progress(phase.title);
  for (const { server } of candidates) {
    process.kill(server.pid, 'SIGCONT');
    if (server.options['innodb_buffer_pool_size'] !== phase.pool) {
      server.options = { ...server.options, innodb_buffer_pool_size: phase.pool };
      await server.restart();
    }
    // Reads every page once, and takes what is slow only the first time.
    await checksums(server, plan.load);
    await measureLoad(server, 'oltp_read_write', plan.load, plan.seconds);
    process.kill(server.pid, 'SIGSTOP');
  }
  const parts = [`### ${phase.title}`];
  const costs: string[][] = [];
  for (const workload of plan.workloads) {
    progress(`${workload}, rounds: ${plan.rounds}`);
    const results = await measureWorkload(candidates, workload, plan);
    const header = [
      'transactions a second',
      'to no encryption',
      'to file_key_management',
      'CPU time of a transaction, µs',
      'to no encryption',
      'to file_key_management',
    ];
    parts.push(table([`\`${workload}\``, ...header], resultRows(results)));
    costs.push(costOfEncryption(workload, results));
  }
  const header = [
    'pages encrypted',
    'pages decrypted',
    ...CIPHERS.map((cipher) => `CPU time added with ${cipher}, µs`),
  ];
  parts.push(table(['a transaction with aws_key_management', ...header], costs));
  const profiles = whereTheTimeGoes(candidates, plan, directory);
  // Not every machine lets perf look.
  parts.push(await profiles.catch((error: unknown) => `No profile: ${String(error).split('\n')[0]}\n`));
  return parts.join('\n');
}

async function runSysbench(options: BenchOptions): Promise<string> {
  const { quick, directory, progress } = options;
  const plan: Plan = quick
    ? { load: { tables: 2, rows: 20_000, threads: 2 }, rounds: 1, seconds: 1, workloads: ['oltp_read_write'] }
    : { load: { tables: 4, rows: 60_000, threads: 2 }, rounds: options.rounds ?? 5, seconds: 2, workloads: WORKLOADS };
  const phases = quick ? PHASES.slice(1) : PHASES;
  const servers = await Servers.open(directory, { ...COMMON, innodb_buffer_pool_size: phases[0]?.pool });
  try {
    progress('starting servers, making tables');
    const candidates = await startAll(servers);
    await prepare(
      candidates.map(({ server }) => server),
      plan.load,
    );
    await check(candidates, plan.load);
    const texts: string[] = [];
    for (const phase of phases) texts.push(await phaseText(phase, candidates, plan, options));
    return texts.join('\n');
  } finally {
    await servers.close();
  }
}

export const sysbench: Section = {
  name: 'sysbench',
  title: 'A server under load',
  run: runSysbench,
};
