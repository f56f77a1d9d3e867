/** Reads the page headers of an InnoDB tablespace: under which key versions its pages are. */
import type { Clock } from '../clock.ts';
import type { OpenDataFile } from '../data/data-files.ts';
import type { CryptBlock } from '../format/innodb/crypt-block.ts';
import { doublewriteBlocks, isInDoublewrite, TRX_SYS_PAGE } from '../format/innodb/doublewrite.ts';
import { freePages, isFreePage, type SpaceLayout } from '../format/innodb/layout.ts';
import { type PageHeader, readPageHeader } from '../format/innodb/page-header.ts';
import { readTablespace } from '../format/innodb/tablespace.ts';
import { nextTurn } from '../next-turn.ts';
import { count, type PageCounts, VersionCounts } from './counts.ts';

type ReadInto = OpenDataFile['readInto'];
type Sleep = Clock['sleep'];

export interface TablespaceScan {
  readonly layout: SpaceLayout;
  readonly crypt: CryptBlock | undefined;
  readonly pages: number;
  /** Encrypted pages by key version. */
  readonly versions: ReadonlyMap<number, PageCounts>;
  /** Pages in clear, without those that InnoDB never encrypts. */
  readonly clear: PageCounts;
  readonly alwaysClear: number;
  readonly empty: number;
  /** Copies of pages, also of other tablespaces, in the doublewrite area. */
  readonly copies: number;
  /** Pages whose header is none of theirs, after they were read again. */
  readonly strangePages: number;
  /** The first of them. */
  readonly strange: readonly number[];
}

/** Bytes to read at once: a read of the headers alone takes three times as long, because of the calls. */
const CHUNK_BYTES = 262_144;
/** Chunks to read before yielding to the event loop. */
const CHUNKS_A_TURN = 64;
/** Pages whose header was strange, to read again and to report. More than that are damage, and no writes under way. */
const MOST_STRANGE = 256;
const MOST_READS = 5;
const READ_AGAIN_MS = 20;

/** @returns undefined: the file does not begin like a tablespace */
export async function scanTablespace(
  read: ReadInto,
  fileBytes: number,
  sleep: Sleep,
  signal: AbortSignal,
): Promise<TablespaceScan | undefined> {
  const space = readTablespace((offset, length) => {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, read(bytes, offset));
  });
  if (space === undefined) return undefined;
  const { layout, crypt } = space;
  const counts = new Counts(layout, crypt, layout.id === 0 ? blocksOf(read, layout) : []);
  const pages = Math.floor(fileBytes / layout.fileBytes);
  const isEncrypted = crypt?.isEncrypted === true;
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let free: Uint8Array = new Uint8Array(layout.fileBytes);
  let number = 0;
  for (let chunks = 1; number < pages; chunks += 1) {
    const whole = Math.floor(read(chunk, number * layout.fileBytes) / layout.fileBytes);
    const end = Math.min(number + whole, pages);
    for (let at = 0; number < end; number += 1, at += layout.fileBytes) {
      const inGroup = number % layout.fileBytes;
      if (inGroup === 0) free = freePages(layout, chunk.subarray(at, at + layout.fileBytes));
      counts.add(number, readPageHeader(layout.form, isEncrypted, number, chunk, at), free[inGroup] === 1);
    }
    // The file has become shorter.
    if (whole === 0) break;
    if (chunks % CHUNKS_A_TURN === 0) {
      await nextTurn();
      signal.throwIfAborted();
    }
  }
  await readAgain(
    counts,
    (page) => {
      const inGroup = page % layout.fileBytes;
      const group = chunk.subarray(0, layout.fileBytes);
      if (read(group, (page - inGroup) * layout.fileBytes) < group.length) return undefined;
      const isFree = isFreePage(layout, group, inGroup) === 1;
      if (read(group, page * layout.fileBytes) < group.length) return undefined;
      return [readPageHeader(layout.form, isEncrypted, page, group, 0), isFree];
    },
    sleep,
    signal,
  );
  return counts.result();
}

/** Reads pages again whose header was strange: a server may have been writing them. */
async function readAgain(
  counts: Counts,
  read: (page: number) => readonly [PageHeader, boolean] | undefined,
  sleep: Sleep,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 0; attempt < MOST_READS && counts.strange.length > 0; attempt += 1) {
    await sleep(READ_AGAIN_MS, signal);
    for (const page of counts.strange.splice(0)) {
      const [header, isFree] = read(page) ?? ['empty', true];
      counts.addAgain(page, header, isFree);
    }
  }
}

function blocksOf(read: ReadInto, { fileBytes }: SpaceLayout): readonly number[] {
  const page = Buffer.alloc(fileBytes);
  return read(page, TRX_SYS_PAGE * fileBytes) === page.length ? doublewriteBlocks(page) : [];
}

class Counts {
  readonly #layout: SpaceLayout;
  readonly #crypt: CryptBlock | undefined;
  readonly #doublewrite: readonly number[];
  readonly #versions = new VersionCounts();
  readonly #clear: PageCounts = { used: 0, free: 0 };
  /** The first of them. */
  readonly strange: number[] = [];
  #strangePages = 0;
  #pages = 0;
  #alwaysClear = 0;
  #empty = 0;
  #copies = 0;

  constructor(layout: SpaceLayout, crypt: CryptBlock | undefined, doublewrite: readonly number[]) {
    this.#layout = layout;
    this.#crypt = crypt;
    this.#doublewrite = doublewrite;
  }

  add(number: number, version: PageHeader, isFree: boolean): void {
    this.#pages += 1;
    this.#note(number, version, isFree);
  }

  /** Counts a page again that was strange. */
  addAgain(number: number, version: PageHeader, isFree: boolean): void {
    this.#strangePages -= 1;
    this.#note(number, version, isFree);
  }

  #note(number: number, version: PageHeader, isFree: boolean): void {
    if (isInDoublewrite(this.#doublewrite, this.#layout.pagesOfExtent, number)) {
      this.#copies += 1;
      return;
    }
    if (version === 'empty') this.#empty += 1;
    else if (version === 'strange') this.#noteStrange(number);
    else if (version === 0 && this.#staysClear(number)) this.#alwaysClear += 1;
    else if (version === 0) count(this.#clear, isFree);
    else this.#versions.add(version, isFree);
  }

  result(): TablespaceScan {
    return {
      layout: this.#layout,
      crypt: this.#crypt,
      pages: this.#pages,
      versions: this.#versions.byVersion,
      clear: this.#clear,
      alwaysClear: this.#alwaysClear,
      empty: this.#empty,
      copies: this.#copies,
      strange: this.strange,
      strangePages: this.#strangePages,
    };
  }

  #noteStrange(number: number): void {
    this.#strangePages += 1;
    if (this.strange.length < MOST_STRANGE) this.strange.push(number);
  }

  #staysClear(number: number): boolean {
    return number % this.#layout.fileBytes === 0 || (this.#layout.id === 0 && number === TRX_SYS_PAGE);
  }
}
