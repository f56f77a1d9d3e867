/** sysbench's OLTP loads on servers that differ in the key plugin and the cipher alone. */
import { existsSync, statfsSync } from 'node:fs';
import { freemem } from 'node:os';
import { join } from 'node:path';
import { withScratchDirectory } from '../harness/scratch-directory.ts';
import type { ScratchServer } from '../harness/scratch-server.ts';
import { keyBytes } from './encryption-bench.ts';
import {
  alone,
  checksums,
  encryptedTables,
  type Load,
  measureInTurns,
  prepare,
  runFor,
  type Throughput,
  WORKLOADS,
  type Workload,
  writeBack,
} from './oltp.ts';
import { type Profile, profile } from './profile.ts';
import type { BenchOptions, Section } from './section.ts';
import { type Cipher, Servers } from './servers.ts';
import { geometricMean, ratios, table, withInterval } from './statistics.ts';
import { onOneCore } from './turns.ts';

interface Candidate {
  readonly name: string;
  /** Undefined: nothing is encrypted. */
  readonly cipher: Cipher | undefined;
  /**
   * `made`: ours with contexts that the server makes for each encryption. `again` equals `theirs` in everything, so that its
   * ratios show the noise of this machine.
   */
  readonly who: 'ours' | 'made' | 'theirs' | 'again' | 'nobody';
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

const MEMORY = '/dev/shm';
const TMPFS = 0x01021994;
const NEEDED_BYTES = 4 * 2 ** 30;

/** Seconds of sampling for each profile. */
const PROFILE_SECONDS = 2;

/** Options that make the processor the bottleneck: no statement waits for the disk. */
export const COMMON = {
  innodb_flush_log_at_trx_commit: 2,
  innodb_flush_method: 'fsync',
  // Small, so that pages have to be written back all the time.
  innodb_log_file_size: '4M',
  innodb_encryption_threads: 0,
} as const;

export const ENCRYPTED = { innodb_encrypt_tables: 'ON', innodb_encrypt_log: 'ON' } as const;

async function startAll(servers: Servers): Promise<Candidate[]> {
  const candidates: Candidate[] = [
    { name: 'no encryption', cipher: undefined, who: 'nobody', server: await servers.plain() },
  ];
  for (const cipher of CIPHERS) {
    const ours = await servers.ours(cipher, ENCRYPTED);
    const keys = new Map([[1, await keyBytes(ours, 1)]]);
    const theirs = await servers.fileKeyManagement(cipher, keys, ENCRYPTED);
    candidates.push({ name: `file_key_management, ${cipher}`, cipher, who: 'theirs', server: theirs });
    candidates.push({ name: `aws_key_management, ${cipher}`, cipher, who: 'ours', server: ours });
    const options = { ...ENCRYPTED, aws_key_management_kept_contexts: 'OFF' };
    const made = await servers.ours(cipher, options, `made-${cipher}`);
    candidates.push({ name: `aws_key_management, ${cipher}, contexts not kept`, cipher, who: 'made', server: made });
    if (cipher !== 'CBC') continue;
    const again = await servers.fileKeyManagement(cipher, keys, ENCRYPTED, 'file-again');
    candidates.push({ name: `file_key_management, ${cipher}, again`, cipher, who: 'again', server: again });
  }
  return candidates;
}

/** Checks that all servers have the same rows, encrypted where they should be. */
async function check(candidates: readonly Candidate[], load: Load): Promise<void> {
  const sums = new Set<string>();
  for (const { name, cipher, server } of candidates) {
    sums.add(await checksums(server, load));
    const [encrypted, expected] = [await encryptedTables(server), cipher === undefined ? 0 : load.tables];
    if (encrypted !== expected) throw new Error(`${name}: expected ${expected} encrypted tables, got ${encrypted}`);
  }
  if (sums.size !== 1) throw new Error(`the servers hold different rows: ${[...sums].join('; ')}`);
}

type Results = ReadonlyMap<Candidate, Throughput[]>;

type Figure = keyof Throughput;

function figures(results: Results, figure: Figure, who: Candidate['who'], cipher?: Cipher): number[] {
  return [...results]
    .filter(([candidate]) => candidate.who === who && candidate.cipher === cipher)
    .flatMap(([, measured]) => measured.map((each) => each[figure]));
}

function resultRows(results: Results): string[][] {
  return [...results].map(([{ name, cipher, who }]) => {
    const columns = (figure: Figure, digits: number): string[] => {
      const values = figures(results, figure, who, cipher);
      const to = (other: Candidate['who'], of?: Cipher): string =>
        who === other ? '1' : withInterval(ratios(values, figures(results, figure, other, of)), 3);
      return [withInterval(values, digits), to('nobody'), cipher === undefined ? '–' : to('theirs', cipher)];
    };
    return [name, ...columns('transactionsPerSecond', 0), ...columns('cpuMicroseconds', 1)];
  });
}

/** The cost of encryption for this plugin's server, and the number of encrypted pages. */
function costOfEncryption(workload: Workload, results: Results): string[] {
  const pages = (['encryptedPages', 'decryptedPages'] as const).map((figure) =>
    figures(results, figure, 'ours', 'CBC'),
  );
  const none = figures(results, 'cpuMicroseconds', 'nobody');
  const added = (who: Candidate['who'], cipher: Cipher): number[] =>
    figures(results, 'cpuMicroseconds', who, cipher).map((cpu, round) => cpu - (none[round] ?? Number.NaN));
  return [
    `\`${workload}\``,
    ...pages.map((each) => withInterval(each, 2)),
    ...CIPHERS.flatMap((cipher) => [
      withInterval(added('ours', cipher), 1),
      withInterval(ratios(added('ours', cipher), added('theirs', cipher)), 2),
    ]),
  ];
}

/** The ratios to file_key_management of all loads at once: of each round, their geometric mean. */
function summary(candidates: readonly Candidate[], loads: readonly Results[]): string {
  const rows = candidates.flatMap(({ name, who, cipher }) => {
    if (who !== 'ours' && who !== 'made' && who !== 'again') return [];
    const columns = (['transactionsPerSecond', 'cpuMicroseconds'] as const).map((figure) => {
      const ofLoads = loads.map((each) =>
        ratios(figures(each, figure, who, cipher), figures(each, figure, 'theirs', cipher)),
      );
      const ofRounds = ofLoads[0]?.map((_, round) => geometricMean(ofLoads.map((each) => each[round] ?? Number.NaN)));
      return withInterval(ofRounds ?? [], 4);
    });
    return [[name, ...columns]];
  });
  const header = ['all loads together, to file_key_management', 'transactions a second', 'CPU time of a transaction'];
  return table(header, rows);
}

interface Plan {
  readonly load: Load;
  readonly rounds: number;
  /** How many times all servers are restarted: an average over starts evens out how fast one process happens to be. */
  readonly starts: number;
  /** Approximate seconds of each server in a round. */
  readonly seconds: number;
  readonly workloads: readonly Workload[];
}

/** Adds the rounds of one start to the results. */
async function measureWorkload(
  candidates: readonly Candidate[],
  workload: Workload,
  { load, rounds, starts, seconds }: Plan,
  results: Results,
): Promise<void> {
  const [first] = candidates;
  if (first === undefined) return;
  const perSecond = await alone(first.server, () => runFor(first.server, workload, load, 1));
  for (const { server } of candidates) await alone(server, () => writeBack(server, load));
  const events = Math.ceil(perSecond * seconds);
  for (let round = 0; round < Math.ceil(rounds / starts); round += 1) {
    // The order alternates, so that no server always follows the same other one.
    const order = round % 2 === 0 ? candidates : candidates.toReversed();
    const servers = order.map(({ server }) => server);
    const measured = await measureInTurns(servers, { workload, load, events, seed: round + 1 });
    for (const [i, each] of measured.entries()) results.get(order[i] ?? first)?.push(each);
  }
}

/** Starts all servers anew, and stops them when they have read every page and done what is slow only the first time. */
async function restart(candidates: readonly Candidate[], pool: string, load: Load): Promise<void> {
  for (const { server } of candidates) {
    process.kill(server.pid, 'SIGCONT');
    server.options = { ...server.options, innodb_buffer_pool_size: pool };
    await server.restart();
    await checksums(server, load);
    await runFor(server, 'oltp_read_write', load, 1);
    process.kill(server.pid, 'SIGSTOP');
  }
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
  for (const { server, name, who } of candidates) {
    if (who === 'again') continue;
    const sampled = await alone(server, async () => {
      const busy = runFor(server, workload, plan.load, PROFILE_SECONDS + 1);
      const sampling = profile(server.pid, join(directory, 'perf.data'), PROFILE_SECONDS);
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
  { directory, progress }: BenchOptions,
): Promise<{ text: string; results: Results[] }> {
  progress(phase.title);
  const loads = plan.workloads.map((workload) => ({
    workload,
    results: new Map(candidates.map((candidate) => [candidate, [] as Throughput[]])),
  }));
  for (let start = 1; start <= plan.starts; start += 1) {
    progress(`start ${start} of ${plan.starts}`);
    // The order of the servers alternates.
    await restart(start % 2 === 0 ? candidates : candidates.toReversed(), phase.pool, plan.load);
    for (const { workload, results } of loads) await measureWorkload(candidates, workload, plan, results);
  }
  const parts = [`### ${phase.title}`];
  const costs: string[][] = [];
  for (const { workload, results } of loads) {
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
    ...CIPHERS.flatMap((cipher) => [`CPU time added with ${cipher}, µs`, 'to file_key_management']),
  ];
  parts.push(table(['a transaction with aws_key_management', ...header], costs));
  const profiles = whereTheTimeGoes(candidates, plan, directory);
  // Some machines do not permit perf.
  parts.push(await profiles.catch((error: unknown) => `No profile: ${String(error).split('\n')[0]}\n`));
  return { text: parts.join('\n'), results: loads.map(({ results }) => results) };
}

async function measureAll(options: BenchOptions): Promise<string> {
  const { quick, directory, progress } = options;
  const plan: Plan = quick
    ? {
        load: { tables: 2, rows: 20_000, threads: 2 },
        rounds: 1,
        starts: 1,
        seconds: 0.5,
        workloads: ['oltp_read_write'],
      }
    : {
        load: { tables: 4, rows: 60_000, threads: 2 },
        rounds: options.rounds ?? 9,
        starts: 3,
        seconds: 0.6,
        workloads: WORKLOADS,
      };
  const phases = quick ? PHASES.slice(1) : PHASES;
  const servers = await Servers.open(directory, { ...COMMON, innodb_buffer_pool_size: phases[0]?.pool }, onOneCore());
  try {
    progress('starting servers, making tables');
    const candidates = await startAll(servers);
    await prepare(
      candidates.map(({ server }) => server),
      plan.load,
    );
    await check(candidates, plan.load);
    const texts: string[] = [];
    const loads: Results[] = [];
    for (const phase of phases) {
      const { text, results } = await phaseText(phase, candidates, plan, options);
      texts.push(text);
      loads.push(...results);
    }
    return [summary(candidates, loads), ...texts].join('\n');
  } finally {
    await servers.close();
  }
}

function fitsIntoMemory(): boolean {
  if (!existsSync(MEMORY)) return false;
  const { type, bavail, bsize } = statfsSync(MEMORY);
  return type === TMPFS && Math.min(bavail * bsize, freemem()) > NEEDED_BYTES;
}

/**
 * The servers' directories are in memory if it is large enough, since disk writes also disturb servers that do not wait
 * for them.
 */
async function runSysbench(options: BenchOptions): Promise<string> {
  // Each server and each client is killed at the exit.
  process.setMaxListeners(32);
  if (!fitsIntoMemory())
    return `${await measureAll(options)}\nThe servers' directories were on a disk, whose work disturbs: ${MEMORY} had no room.\n`;
  return await withScratchDirectory('mak-bench-', (directory) => measureAll({ ...options, directory }), MEMORY);
}

export const sysbench: Section = {
  name: 'sysbench',
  title: 'A server under load',
  run: runSysbench,
};
