/**
 * Measures encryption and decryption of small buffers beside those of a page, by cipher, plugin and number of threads, and
 * counts the encryptions of a real load by their sizes.
 */
import type { ScratchServer } from '../harness/scratch-server.ts';
import { ciphertext, keyBytes, measure } from './encryption-bench.ts';
import { prepare, runTransactions } from './oltp.ts';
import type { BenchOptions, Section } from './section.ts';
import { type Cipher, type CountedEncryptions, Servers } from './servers.ts';
import { ratios, table, withSpread } from './statistics.ts';
import { COMMON, ENCRYPTED } from './sysbench.ts';

const CIPHERS: readonly Cipher[] = ['CBC', 'CTR'];
const SIZES = [16, 25, 48, 57, 128, 512, 2048, 16_384] as const;
const OPERATIONS = ['encrypt', 'decrypt'] as const;
const THREADS = [1, 2] as const;

/** `kept`: this plugin; `made`: this plugin with contexts that the server makes for each call; `theirs`: another plugin. */
const CANDIDATES = ['theirs', 'made', 'kept'] as const;
type Candidate = (typeof CANDIDATES)[number];
type Candidates = Readonly<Record<Candidate, ScratchServer>>;

async function startCandidates(servers: Servers, cipher: Cipher): Promise<Candidates> {
  const kept = await servers.ours(cipher);
  const [state, key] = [
    await kept.variable('STATUS', 'Aws_key_management_encryption_contexts'),
    await keyBytes(kept, 1),
  ];
  if (state !== 'kept') throw new Error(`contexts are ${state}`);
  const made = await servers.ours(cipher, { aws_key_management_kept_contexts: 'OFF' }, `made-${cipher}`);
  return { kept, made, theirs: await servers.fileKeyManagement(cipher, new Map([[1, key]])) };
}

async function checkBytes(cipher: Cipher, { kept, theirs }: Candidates): Promise<void> {
  for (const size of SIZES)
    if (!(await ciphertext(kept, 'page', size)).equals(await ciphertext(theirs, 'page', size)))
      throw new Error(`AES-${cipher}: ${size} bytes are encrypted differently`);
}

async function measureSizes(cipher: Cipher, candidates: Candidates, options: BenchOptions): Promise<string[][]> {
  const { quick, progress } = options;
  const { rounds, ms } = { rounds: options.rounds ?? (quick ? 3 : 11), ms: quick ? 20 : 50 };
  const rows: string[][] = [];
  for (const operation of OPERATIONS)
    for (const size of SIZES) {
      progress(`AES-${cipher}, ${operation} ${size} bytes`);
      const columns: string[] = [];
      for (const threads of THREADS) {
        const measured: Record<Candidate, number[]> = { theirs: [], made: [], kept: [] };
        for (let round = 0; round < rounds; round += 1)
          for (const candidate of CANDIDATES)
            measured[candidate].push((await measure(candidates[candidate], `${operation} ${size}`, ms, threads)).cpuNs);
        columns.push(withSpread(measured.theirs, 0));
        for (const candidate of ['made', 'kept'] as const)
          columns.push(withSpread(ratios(measured[candidate], measured.theirs), 2));
      }
      rows.push([`AES-${cipher}, ${operation}, ${size.toLocaleString('en')} bytes`, ...columns]);
    }
  return rows;
}

/** The upper ends of the classes in which sizes are counted. */
const CLASSES = [16, 32, 64, 128, 512, 2048, 4096, Number.POSITIVE_INFINITY] as const;

function countRows(counted: readonly CountedEncryptions[], transactions: number): string[][] {
  const total = counted.reduce((sum, { count }) => sum + count, 0);
  return CLASSES.map((most, i) => {
    const least = (CLASSES[i - 1] ?? 0) + 1;
    const inside = counted.filter(({ bytes }) => bytes >= least && bytes <= most);
    const sum = (of: (each: CountedEncryptions) => number): number => inside.reduce((all, each) => all + of(each), 0);
    const count = sum((each) => each.count);
    const share = (part: number): string => (count === 0 ? '–' : `${((part / count) * 100).toFixed(0)} %`);
    return [
      most === Number.POSITIVE_INFINITY ? 'pages' : `${least} to ${most} bytes`,
      (count / transactions).toFixed(2),
      `${((count / total) * 100).toFixed(1)} %`,
      share(sum((each) => (each.bytes % 16 === 0 ? 0 : each.count))),
      share(sum((each) => (each.pieces > 1 ? each.count : 0))),
    ];
  });
}

async function countLoad(servers: Servers, { quick, progress }: BenchOptions): Promise<string> {
  progress('counting the encryptions of a load');
  const load = { tables: 4, rows: quick ? 5000 : 60_000, threads: 2 };
  const { server, take } = await servers.counted({ ...COMMON, ...ENCRYPTED, innodb_buffer_pool_size: '256M' });
  await prepare([server], load);
  await runTransactions(server, 'oltp_write_only', load, 1000);
  await take();
  const transactions = quick ? 2000 : 20_000;
  await runTransactions(server, 'oltp_write_only', load, transactions);
  const header = ['each transaction', 'share', 'no multiple of 16', 'in several pieces'];
  return table(['`oltp_write_only`: encryptions', ...header], countRows(await take(), transactions));
}

async function runSmallBuffers(options: BenchOptions): Promise<string> {
  const servers = await Servers.open(options.directory);
  try {
    options.progress('starting servers');
    const rows: string[][] = [];
    for (const cipher of CIPHERS) {
      const candidates = await startCandidates(servers, cipher);
      await checkBytes(cipher, candidates);
      rows.push(...(await measureSizes(cipher, candidates, options)));
    }
    const header = THREADS.flatMap((threads) => [
      `file_key_management, ns on a CPU, ${threads === 1 ? '1 thread' : `${threads} threads`}`,
      'contexts not kept, ratio',
      'kept, ratio',
    ]);
    return `${table(['a call', ...header], rows)}\n${await countLoad(servers, options)}`;
  } finally {
    await servers.close();
  }
}

export const smallBuffers: Section = {
  name: 'small-buffers',
  title: 'Small buffers',
  run: runSmallBuffers,
};
