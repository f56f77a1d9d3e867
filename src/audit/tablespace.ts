/** Reads the page headers of an InnoDB tablespace: under which key versions its pages are. */
import type { Clock } from '../clock.ts';
import type { OpenDataFile } from '../data/data-files.ts';
import type { CryptBlock } from '../format/innodb/crypt-block.ts';
import { doublewriteBlocks, TRX_SYS_PAGE } from '../format/innodb/doublewrite.ts';
import { descriptorsEnd, isFreePage, pagesOfSpace, type SpaceLayout } from '../format/innodb/layout.ts';
import { isIntact, pageDamage } from '../format/innodb/page-checksum.ts';
import { FIELD, PAGE_TYPE } from '../format/innodb/page-fields.ts';
import { isBlank, type PageHeader, readPageHeader } from '../format/innodb/page-header.ts';
import { readTablespace } from '../format/innodb/tablespace.ts';
import { nextTurn } from '../next-turn.ts';
import { SpaceCounts, type SpacePages, type UnnamedKind } from './space-counts.ts';

export interface ScanMeans {
  readonly sleep: Clock['sleep'];
  readonly signal: AbortSignal;
  /** True: the checksum of every page is verified, else only of the first page of each key version. */
  readonly checksums: boolean;
  /** Called with the bytes that were read since the last call. */
  readonly advance: (bytes: number) => void;
  /** Memory of `CHUNK_BYTES` that every scan uses in turn: the kernel zeroes new memory, which takes longer than a read. */
  readonly chunk: Buffer;
}

export interface TablespaceScan extends SpacePages {
  readonly layout: SpaceLayout;
  readonly crypt: CryptBlock | undefined;
  /** Continues in the next file of the same tablespace. */
  readonly rest: SpaceRest;
  /** Undefined: the file ends with a whole page, and has all pages that page 0 counts. */
  readonly cut: string | undefined;
  /** True: page 0 is zero, and the size of a page is not known. */
  readonly isUnwritten: boolean;
}

/** A tablespace of several files, up to the end of one of them. */
export interface SpaceRest {
  readonly layout: SpaceLayout;
  readonly crypt: CryptBlock | undefined;
  readonly doublewrite: readonly number[];
  /** Pages of all files, by page 0; 0: it was never written. */
  readonly spacePages: number;
  /** Number of the next file's first page. */
  readonly nextPage: number;
  /** The last descriptor page, which says of each page after it whether it is free. */
  readonly descriptors: Buffer;
}

/** Bytes to read at once: a read of the headers alone takes three times as long, because of the calls. */
export const CHUNK_BYTES = 524_288;
/** Chunks to read before yielding to the event loop. */
const CHUNKS_A_TURN = 32;
const MOST_READS = 5;
const READ_AGAIN_MS = 20;
const TEMPORARY_SPACE = 0xfffffffe;

/**
 * @param rest of the file before, in a tablespace of several files
 * @returns undefined: the file does not begin like a tablespace
 */
export async function scanTablespace(
  { readInto: read, bytes: fileBytes }: Pick<OpenDataFile, 'readInto' | 'bytes'>,
  means: ScanMeans,
  rest?: SpaceRest,
): Promise<TablespaceScan | undefined> {
  const { chunk } = means;
  let filled = read(chunk, 0);
  const space = rest ?? firstFile(chunk.subarray(0, filled));
  if (space === undefined) return undefined;
  const { layout, crypt, doublewrite, nextPage: first } = space;
  const { fileBytes: size, form } = layout;
  const counts = new SpaceCounts(layout, doublewrite);
  const end = first + Math.floor(fileBytes / size);
  const isTemporary = layout.id === TEMPORARY_SPACE;
  const isEncrypted = crypt?.isEncrypted === true;
  const look = (number: number, at: number): PageHeader => {
    const header = readPageHeader(form, isEncrypted, number, chunk, at);
    const isNew = typeof header === 'number' && !counts.knows(header);
    // Pages of a temporary tablespace in clear have no checksums.
    const isChecked = (means.checksums || isNew) && !isTemporary;
    if (header === 'strange' || (header !== 0 && !isChecked) || counts.isCopy(number)) return header;
    if (isChecked) {
      const page = chunk.subarray(at, at + size);
      const isSound = means.checksums
        ? pageDamage(layout, isEncrypted, number, page) === undefined
        : isIntact(layout, page);
      if (!isSound) return 'strange';
    }
    return header === 0 && isBlank(chunk, at, size) ? 'empty' : header;
  };
  const kindOf = (header: PageHeader, at: number): UnnamedKind => {
    if (header !== 0) return 'other';
    // No page of a temporary tablespace names its version. The number of the tablespace is in the encrypted range.
    if (isTemporary) return chunk.readUInt32BE(at + FIELD.spaceId) === TEMPORARY_SPACE ? 'other' : 'encrypted';
    const isRtree = chunk.readUInt16BE(at + FIELD.type) === PAGE_TYPE.rtree;
    return isEncrypted && form !== 'full_crc32' && isRtree ? 'spatial' : 'other';
  };
  let { descriptors } = space;
  let number = first;
  for (let chunks = 1; ; chunks += 1) {
    const whole = Math.floor(filled / size);
    const chunkEnd = Math.min(number + whole, end);
    for (let at = 0; number < chunkEnd; number += 1, at += size) {
      const inGroup = number % size;
      if (inGroup === 0) descriptors = Buffer.from(chunk.subarray(at, at + descriptorsEnd(layout)));
      const header = look(number, at);
      counts.add(number, header, isFreePage(layout, descriptors, inGroup) === 1, kindOf(header, at));
    }
    // A file that has become shorter ends before its pages do.
    if (number >= end || whole === 0) break;
    if (chunks % CHUNKS_A_TURN === 0) {
      means.advance(CHUNKS_A_TURN * CHUNK_BYTES);
      await nextTurn();
      means.signal.throwIfAborted();
    }
    filled = read(chunk, (number - first) * size);
  }
  await readAgain(counts, means, (page) => {
    const inGroup = page % size;
    const group = chunk.subarray(0, size);
    const groupAt = page - inGroup - first;
    if (groupAt >= 0 && read(group, groupAt * size) < group.length) return undefined;
    const isFree = isFreePage(layout, groupAt >= 0 ? group : space.descriptors, inGroup) === 1;
    if (read(group, (page - first) * size) < group.length) return undefined;
    const header = look(page, 0);
    return { header, isFree, kind: kindOf(header, 0) };
  });
  const cut = cutOf(space, end, fileBytes % size !== 0, (page) => {
    const into = chunk.subarray(0, size);
    return read(into, (page - first) * size) === size;
  });
  return {
    layout,
    crypt,
    ...counts.result(),
    rest: { ...space, nextPage: end, descriptors },
    cut,
    isUnwritten: space.spacePages === 0,
  };
}

/**
 * Tells where a file ends too early.
 * @param end the number of the page after the last whole one, when the file was opened
 * @param has tells whether the file has a page now: a server may have made it longer meanwhile
 */
function cutOf(
  { spacePages }: SpaceRest,
  end: number,
  isWithinPage: boolean,
  has: (page: number) => boolean,
): string | undefined {
  if (spacePages === 0) return undefined;
  if (spacePages > end && !has(spacePages - 1)) return `it ends before its page ${end} of ${spacePages}`;
  return isWithinPage && !has(end) ? `it ends within its page ${end}` : undefined;
}

interface PageRead {
  readonly header: PageHeader;
  readonly isFree: boolean;
  readonly kind: UnnamedKind;
}

/** Reads pages again whose header was strange: a server may have been writing them. */
async function readAgain(
  counts: SpaceCounts,
  { sleep, signal }: ScanMeans,
  read: (page: number) => PageRead | undefined,
): Promise<void> {
  for (let attempt = 0; attempt < MOST_READS && counts.strange.length > 0; attempt += 1) {
    await sleep(READ_AGAIN_MS, signal);
    for (const page of counts.strange.splice(0)) {
      const { header, isFree, kind } = read(page) ?? { header: 'empty', isFree: true, kind: 'other' };
      counts.addAgain(page, header, isFree, kind);
    }
  }
}

/** @param start a chunk, in which the first pages are whole whatever their size */
function firstFile(start: Buffer): SpaceRest | undefined {
  const space = readTablespace((offset, length) => start.subarray(offset, offset + length));
  if (space === undefined) return undefined;
  const { layout } = space;
  const doublewrite = layout.id === 0 ? blocksOf(start, layout) : [];
  return { ...space, doublewrite, spacePages: pagesOfSpace(start), nextPage: 0, descriptors: Buffer.alloc(0) };
}

function blocksOf(start: Buffer, { fileBytes }: SpaceLayout): readonly number[] {
  const page = start.subarray(TRX_SYS_PAGE * fileBytes, (TRX_SYS_PAGE + 1) * fileBytes);
  return page.length === fileBytes ? doublewriteBlocks(page) : [];
}
