/** Reads the page headers of an Aria table: under which key versions its pages are. */
import type { OpenDataFile } from '../data/data-files.ts';
import {
  ARIA_PAGES_HEAD,
  ARIA_STATE_HEAD,
  type AriaPages,
  ariaIndexPageVersion,
  ariaLengths,
  ariaPageVersion,
  bitmapEvery,
  parseAriaIndex,
  parseAriaPages,
} from '../format/aria-table.ts';
import { nextTurn } from '../next-turn.ts';
import { count, type PageCounts, VersionCounts } from './counts.ts';
import { CHUNK_BYTES, type ScanMeans } from './tablespace.ts';

export interface AriaScan {
  readonly isEncrypted: boolean;
  readonly pages: number;
  /** Bitmaps, which Aria never encrypts, and pages that are not in use. */
  readonly neverEncrypted: number;
  readonly empty: number;
  /** Encrypted pages of both files by key version. */
  readonly versions: ReadonlyMap<number, PageCounts>;
  /** Pages in clear that could be encrypted. */
  readonly clear: PageCounts;
  /** Bytes of rows that are in no pages (ROW_FORMAT=FIXED and DYNAMIC), which Aria never encrypts. */
  readonly clearRowBytes: number;
  /** Undefined: both files have all bytes that the index counts. */
  readonly cut: string | undefined;
}

type AriaFile = Pick<OpenDataFile, 'readInto' | 'bytes'>;
type AriaMeans = Pick<ScanMeans, 'signal' | 'advance' | 'chunk'>;

/** Chunks to read before yielding to the event loop. */
const CHUNKS_A_TURN = 32;

/** @returns undefined: the index file is none of an Aria table */
export async function scanAria(index: AriaFile, data: AriaFile, means: AriaMeans): Promise<AriaScan | undefined> {
  const head = Buffer.alloc(ARIA_STATE_HEAD);
  const base = Buffer.alloc(ARIA_PAGES_HEAD);
  const baseAt = index.readInto(head, 0) === head.length ? parseAriaIndex(head) : undefined;
  if (baseAt === undefined || index.readInto(base, baseAt) < base.length) return undefined;
  const table = parseAriaPages(head, base);
  if (table === undefined) return undefined;
  const scan = { pages: 0, neverEncrypted: 0, empty: 0, versions: new VersionCounts(), clear: { used: 0, free: 0 } };
  const note = (version: number | undefined): void => {
    scan.pages += 1;
    if (version === undefined) scan.empty += 1;
    else if (version === 0 || !table.isEncrypted) count(scan.clear, false);
    else scan.versions.add(version, false);
  };
  // Each free page names the next one: CHECK TABLE reads them all, and an insert reads the one that it takes.
  await eachPage(index, table.firstIndexPage, table, means, (page) => note(ariaIndexPageVersion(table, page)));
  if (table.hasDataPages)
    await eachPage(data, 0, table, means, (page, number) => {
      if (number % bitmapEvery(table) === 0) scan.neverEncrypted += 1;
      else note(ariaPageVersion(page));
    });
  return {
    ...scan,
    isEncrypted: table.isEncrypted,
    pages: scan.pages + scan.neverEncrypted,
    versions: scan.versions.byVersion,
    clearRowBytes: table.hasDataPages ? 0 : data.bytes,
    cut: cutOf(head, index, data),
  };
}

/** Tells which file is shorter than the index says. Of a table that a server has open, the files may be behind. */
function cutOf(head: Buffer, index: AriaFile, data: AriaFile): string | undefined {
  const lengths = ariaLengths(head);
  if (lengths === undefined) return undefined;
  if (index.bytes < lengths.index) return `it ends at byte ${index.bytes} of ${lengths.index}`;
  return data.bytes < lengths.data ? `its data file ends at byte ${data.bytes} of ${lengths.data}` : undefined;
}

async function eachPage(
  { readInto, bytes }: AriaFile,
  from: number,
  { blockSize }: AriaPages,
  { signal, advance, chunk }: AriaMeans,
  look: (page: Buffer, number: number) => void,
): Promise<void> {
  const pages = Math.floor((bytes - from) / blockSize);
  let number = 0;
  for (let chunks = 1; number < pages; chunks += 1) {
    const whole = Math.floor(readInto(chunk, from + number * blockSize) / blockSize);
    // The file has become shorter.
    if (whole === 0) return;
    const end = Math.min(number + whole, pages);
    for (let at = 0; number < end; number += 1, at += blockSize) look(chunk.subarray(at, at + blockSize), number);
    if (chunks % CHUNKS_A_TURN === 0) {
      advance(CHUNKS_A_TURN * CHUNK_BYTES);
      await nextTurn();
      signal.throwIfAborted();
    }
  }
}
