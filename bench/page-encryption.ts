/**
 * Measures encryption and decryption of a page of 16 KiB through the server's encryption service, by cipher and plugin.
 */
import type { ScratchServer } from '../harness/scratch-server.ts';
import { ciphertext, keyBytes, type Measured, measure } from './encryption-bench.ts';
import type { BenchOptions, Section } from './section.ts';
import { type Cipher, Servers } from './servers.ts';
import { ratios, table, withSpread } from './statistics.ts';

const CIPHERS: readonly Cipher[] = ['CBC', 'CTR'];
const OPERATIONS = ['encrypt', 'decrypt'] as const;
type Operation = (typeof OPERATIONS)[number];

/** Sizes: whole pages, the encrypted part of a page in InnoDB and Aria, and lengths around a cipher block. */
const SIZES = {
  page: [16_384, 16_354, 16_338, 8172, 31, 17, 16, 15, 1],
  padded: [16_384, 4096, 100, 16, 15, 1],
} as const;

interface Pair {
  readonly cipher: Cipher;
  readonly ours: ScratchServer;
  readonly theirs: ScratchServer;
}

type Who = 'ours' | 'theirs';
const PLUGINS: Readonly<Record<Who, string>> = { ours: 'aws_key_management', theirs: 'file_key_management' };

async function startPair(servers: Servers, cipher: Cipher): Promise<Pair> {
  const ours = await servers.ours(cipher);
  const theirs = await servers.fileKeyManagement(cipher, new Map([[1, await keyBytes(ours, 1)]]));
  return { cipher, ours, theirs };
}

/** The same key, version and data give the same bytes in both plugins; returns those of a page. */
async function checkBytes({ cipher, ours, theirs }: Pair): Promise<Buffer> {
  for (const kind of ['page', 'padded'] as const)
    for (const size of SIZES[kind])
      if (!(await ciphertext(ours, kind, size)).equals(await ciphertext(theirs, kind, size)))
        throw new Error(`AES-${cipher}: ${size} bytes (${kind}) are encrypted differently`);
  return await ciphertext(ours, 'page', 16_384);
}

interface Series {
  readonly cipher: Cipher;
  readonly who: Who;
  readonly server: ScratchServer;
  readonly measured: Readonly<Record<Operation, Measured[]>>;
}

function rows(all: readonly Series[]): string[][] {
  const reference = (of: Pick<Series, 'cipher' | 'who'>, operation: Operation): number[] =>
    all
      .filter(({ cipher, who }) => cipher === of.cipher && who === of.who)
      .flatMap(({ measured }) => measured[operation].map(({ cpuNs }) => cpuNs));
  return all.map((series) => {
    const { cipher, who } = series;
    const columns = OPERATIONS.flatMap((operation) => {
      const own = reference(series, operation);
      return [
        withSpread(
          own.map((ns) => ns / 1000),
          2,
        ),
        withSpread(ratios(own, reference({ cipher, who: 'theirs' }, operation)), 3),
        withSpread(ratios(reference({ cipher: 'CBC', who }, operation), own), 1),
      ];
    });
    return [`${PLUGINS[who]}, AES-${cipher}`, ...columns];
  });
}

async function compare(servers: Servers, options: BenchOptions): Promise<string> {
  const { quick, progress } = options;
  const { rounds, ms } = { rounds: options.rounds ?? (quick ? 3 : 15), ms: quick ? 60 : 150 };
  progress('starting servers');
  const pairs: Pair[] = [];
  for (const cipher of CIPHERS) pairs.push(await startPair(servers, cipher));
  const pages: Buffer[] = [];
  for (const pair of pairs) pages.push(await checkBytes(pair));
  if (pages[0]?.equals(pages[1] ?? Buffer.alloc(0))) throw new Error('AES-CBC and AES-CTR give the same page');
  const all: readonly Series[] = pairs.flatMap(({ cipher, ours, theirs }) => [
    { cipher, who: 'ours', server: ours, measured: { encrypt: [], decrypt: [] } } as const,
    { cipher, who: 'theirs', server: theirs, measured: { encrypt: [], decrypt: [] } } as const,
  ]);
  for (let round = 1; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`);
    for (const { server, measured } of all)
      for (const operation of OPERATIONS) measured[operation].push(await measure(server, `${operation} 16384`, ms, 1));
  }
  const header = OPERATIONS.flatMap((operation) => [
    `${operation}, µs`,
    'ratio to file_key_management',
    'times as fast as with AES-CBC',
  ]);
  return `${table(['a page of 16 KiB', ...header], rows(all))}
For the same key, version and data both plugins wrote the same bytes, ${SIZES.page.length} sizes of page and ${SIZES.padded.length} of padded data in each mode.
`;
}

async function runPageEncryption(options: BenchOptions): Promise<string> {
  const servers = await Servers.open(options.directory);
  try {
    return await compare(servers, options);
  } finally {
    await servers.close();
  }
}

export const pageEncryption: Section = {
  name: 'page-encryption',
  title: 'Page encryption',
  run: runPageEncryption,
};
