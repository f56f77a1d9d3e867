/**
 * Measures `audit` beside `innochecksum`, which reads the same tablespaces, with their pages in the page cache and
 * without, and `decrypt` beside MariaDB's own ways.
 */
import { execFile } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { COMMAND } from '../harness/scratch-server.ts';
import {
  type AuditSizes,
  checkSpace,
  copySmallTables,
  makeTables,
  type Tablespaces,
  tablespacesOf,
} from './audit-data.ts';
import { decryptLogs, decryptTables } from './decrypt.ts';
import { startKmsProcess } from './kms-process.ts';
import { type CommandRun, forEach, measureCommand } from './measured-command.ts';
import type { BenchOptions, Section } from './section.ts';
import { ratios, table, withSpread } from './statistics.ts';

const run = promisify(execFile);

const WHOLE: AuditSizes = { tables: 200, tableBytes: 50e6, smallFiles: 20_000 };
const QUICK: AuditSizes = { tables: 20, tableBytes: 10e6, smallFiles: 1000 };
/** Files that are read without the page cache: a disk is slower. */
const COLD_BYTES = 2e9;
const MOST_OUTPUT = 256 * 2 ** 20;

/** Has the kernel forget what it holds of the files. */
async function forget(files: readonly string[]): Promise<void> {
  for (const file of files)
    await run('dd', [`of=${file}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none']);
}

/** Checks that the audit counts the pages that the files have, and that it finds both key versions in each large table. */
async function checkAudit(files: readonly string[]): Promise<void> {
  const { stdout } = await run(COMMAND, ['audit', '--json', ...files], { maxBuffer: MOST_OUTPUT });
  const audit: { readonly files: readonly AuditedFile[] } = JSON.parse(stdout);
  if (audit.files.length !== files.length)
    throw new Error(`${audit.files.length} of ${files.length} files were audited`);
  for (const { file, bytes, pages, keyVersions } of audit.files) {
    if (pages.all * PAGE_BYTES !== bytes || pages.strangePages > 0)
      throw new Error(`${file}: ${JSON.stringify(pages)}`);
    const versions = keyVersions.map(({ version }) => version).join();
    if (file.includes('/large/') && versions !== '1,2') throw new Error(`${file}: key versions ${versions}`);
  }
}

const PAGE_BYTES = 16_384;

interface AuditedFile {
  readonly file: string;
  readonly bytes: number;
  readonly pages: { readonly all: number; readonly strangePages: number };
  readonly keyVersions: readonly { readonly version: number }[];
}

/**
 * Runs the commands in alternating rounds, in every second round from the last to the first: what reads a file first may
 * pay for caches below the kernel's.
 * @param before is called before each of them
 * @returns the measurements of each command
 */
async function inRounds(
  commands: readonly (readonly string[])[],
  rounds: number,
  before: () => Promise<void> = async () => undefined,
): Promise<CommandRun[][]> {
  const measured = commands.map((): CommandRun[] => []);
  for (let round = 0; round < rounds; round += 1)
    for (const [index, command] of round % 2 === 0 ? [...commands.entries()] : [...commands.entries()].reverse()) {
      await before();
      measured[index]?.push(await measureCommand(command));
    }
  return measured;
}

const seconds = (runs: readonly CommandRun[]): number[] => runs.map(({ ms }) => ms / 1000);
const megabytes = (runs: readonly CommandRun[]): string =>
  withSpread(
    runs.map(({ residentBytes }) => residentBytes / 1e6),
    0,
  );

/** A row: seconds, gigabytes a second, the ratio to the reference, the most memory. */
function row(
  name: string,
  taken: readonly number[],
  bytes: number,
  reference: readonly number[],
  memory: string,
): string[] {
  const speeds = taken.map((time) => bytes / 1e9 / time);
  return [name, withSpread(taken, 2), withSpread(speeds, 1), withSpread(ratios(taken, reference), 2), memory];
}

const COLUMNS = ['s', 'GB/s', 'ratio', 'resident, MB'];

/** The large files, with their pages in the page cache. */
async function warm(files: readonly string[], smallest: string, rounds: number): Promise<string> {
  const bytes = bytesOf(files);
  const [checks = [], starts = [], audits = [], sums = []] = await inRounds(
    [
      forEach('innochecksum', files),
      forEach(
        'innochecksum',
        files.map(() => smallest),
      ),
      [COMMAND, 'audit', ...files],
      [COMMAND, 'audit', '--checksums', ...files],
    ],
    rounds,
  );
  const net = withoutStarts(seconds(checks), seconds(starts));
  const from = `${gigabytes(bytes)} in ${files.length} files, page cache warm`;
  return table(
    [from, ...COLUMNS],
    [
      row('innochecksum, started for each file', seconds(checks), bytes, net, megabytes(checks)),
      row('innochecksum without its starts', net, bytes, net, '–'),
      row('audit', seconds(audits), bytes, net, megabytes(audits)),
      row('audit --checksums', seconds(sums), bytes, net, megabytes(sums)),
    ],
  );
}

/** Subtracts the times of as many starts, round by round. */
export function withoutStarts(taken: readonly number[], starts: readonly number[]): number[] {
  if (taken.length !== starts.length) throw new Error('each time needs the starts of its round');
  return taken.map((time, round) => time - (starts[round] ?? Number.NaN));
}

async function small({ datadir, files, bytes }: Tablespaces, rounds: number): Promise<string> {
  const [audits = []] = await inRounds([[COMMAND, 'audit', datadir]], rounds);
  const from = `${files.length.toLocaleString('en')} small tablespaces, ${gigabytes(bytes)}`;
  return table([from, 's', 'resident, MB'], [['audit', withSpread(seconds(audits), 2), megabytes(audits)]]);
}

/** Some of the large files, read from the disk. */
async function cold(all: readonly string[], rounds: number): Promise<string> {
  const files = filesUpTo(all, COLD_BYTES);
  const bytes = bytesOf(files);
  const commands = [
    ['cat', ...files],
    [COMMAND, 'audit', ...files],
  ];
  const again = (): Promise<void> => forget(files);
  // The first pass fills the caches of the disk, or of a virtual machine's host.
  await inRounds(commands.slice(0, 1), 1, again);
  const [reads = [], audits = []] = await inRounds(commands, rounds, again);
  return table(
    [`${gigabytes(bytes)} in ${files.length} files, not in the page cache`, ...COLUMNS],
    [
      row('cat', seconds(reads), bytes, seconds(reads), '–'),
      row('audit', seconds(audits), bytes, seconds(reads), megabytes(audits)),
    ],
  );
}

/** The first of the files that have so many bytes together. */
function filesUpTo(files: readonly string[], bytes: number): readonly string[] {
  let sum = 0;
  return files.filter((file) => {
    sum += statSync(file).size;
    return sum <= bytes;
  });
}

const bytesOf = (files: readonly string[]): number => files.reduce((sum, file) => sum + statSync(file).size, 0);
const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

async function runAudit({ directory, quick, rounds = quick ? 2 : 7, progress }: BenchOptions): Promise<string> {
  const sizes = quick ? QUICK : WHOLE;
  checkSpace(directory, sizes);
  const kms = await startKmsProcess();
  try {
    const server = await makeTables(directory, kms.url, sizes, progress);
    const { files } = tablespacesOf(server.datadir);
    const [smallest = ''] = files.toSorted((a, b) => statSync(a).size - statSync(b).size);
    progress('copying small tables');
    const copies = copySmallTables(server, join(directory, 'small'), sizes.smallFiles);
    progress('checking the answers');
    await checkAudit(files);
    progress('reading large files');
    const tables = [await warm(files, smallest, rounds)];
    progress('reading small files');
    tables.push(await small(copies, rounds));
    progress('reading files from the disk');
    tables.push(await cold(files, quick ? 2 : 6));
    // Last, because the server changes the tables.
    const place = { server, kmsUrl: kms.url, directory };
    progress('decrypting tables');
    tables.push(await decryptTables(place, quick ? 2 : 20, quick ? 1 : 3));
    progress('decrypting logs');
    tables.push(await decryptLogs(place, quick ? 10e6 : 200e6, quick ? 1 : 5));
    return tables.join('\n');
  } finally {
    await kms.close();
  }
}

export const audit: Section = { name: 'audit', title: 'Audit and decryption', run: runAudit };
