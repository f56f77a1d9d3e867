/**
 * Moves the rows of decrypted Aria pages to where a table in clear has them (MariaDB's ma_blockrec.c).
 *
 * An encrypted page has a key version of four bytes after its header. Rows on a page are found by their offsets, so that
 * head and tail pages only get four bytes of empty space more. A blob page is always filled to its end: with four bytes
 * more on each, what follows moves up from page to page, and the last page or the tail of a blob can become free.
 */
import { KeyError } from '../errors.ts';
import {
  ARIA_BLOB,
  ARIA_BLOB_PAGE_HEADER,
  ARIA_CHECKSUM_BYTES,
  ARIA_TAIL,
  ARIA_VERSION_BYTES,
  ariaPageType,
  sealAriaPage,
} from '../format/aria-cipher.ts';
import { type AriaColumn, type AriaLayout, BLOB_COLUMN, CHAR_COLUMN, VARCHAR_COLUMN } from '../format/aria-layout.ts';
import { ariaEntries, ariaEntry, setAriaEntryLength } from '../format/aria-page.ts';

/** Decrypted pages, numbered as in the file. */
export interface AriaPages {
  /** Returns a copy. */
  read(number: number): Buffer;
  write(number: number, page: Buffer): void;
  /** Notes that a blob page belongs to a row. Returns false for one that belongs to a row already. */
  claim(number: number): boolean;
}

/** Bits of a row's first byte, each with the bytes that it adds to the row's header. */
const HEADER_PARTS = [
  [1, 6],
  [2, 7],
  [4, 6],
  [8, 1],
] as const;
const HAS_EXTENTS = 128;
/** A run of pages: the first page, and their number; for a tail, its entry in the page's directory. Both have flags. */
const [EXTENT_BYTES, PAGE_BYTES] = [7, 5];
const [IS_TAIL, FLAGS] = [0x8000, 0xc000];
const LONG_LENGTH = 255;
/** The server makes no tail shorter. */
const MIN_TAIL = 32;
const POINTER_BYTES = 8;

/** A whole page, or a tail on a page, with its part of a row. */
interface Piece {
  readonly page: number;
  readonly extent: number;
  /** The entry in the page's directory; undefined: a whole page. */
  readonly entry: number | undefined;
  /** The most bytes that a row has there, and those that this row has. */
  readonly room: number;
  used: number;
}

/** A piece, and the bytes that it gets. */
interface Part {
  readonly piece: Piece;
  readonly bytes: number;
}

/** Pieces that are filled one after the other: those of one blob, or of what does not fit the head page. */
type Segment = Piece[];

/**
 * Moves the parts of a head page's long rows.
 * @param name the table's in messages
 * @param head the page, in which the rows' lists of pages are changed
 * @returns the blob pages that are in use
 * @throws KeyError DATA_UNREADABLE if a row is not what the table's columns say
 */
export function moveLongRows(
  name: string,
  layout: AriaLayout,
  head: Buffer,
  number: number,
  pages: AriaPages,
): readonly number[] {
  const used: number[] = [];
  for (let entry = 0; entry < ariaEntries(head); entry += 1) {
    const place = ariaEntry(head, entry);
    if (place === undefined || ((head[place.start] ?? 0) & HAS_EXTENTS) === 0) continue;
    const row = head.subarray(place.start, place.start + place.length);
    try {
      for (const page of new LongRow(layout, row, pages).move()) used.push(page);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new KeyError(
        'DATA_UNREADABLE',
        `${name}: page ${number}: row ${entry} does not fit its table: ${error.message}`,
        {
          cause: error,
        },
      );
    }
  }
  return used;
}

/** Reads a row as the server does. Buffers throw a RangeError where a row says more than there is. */
class LongRow {
  readonly #layout: AriaLayout;
  readonly #pages: AriaPages;
  readonly #head: Buffer;
  readonly #segments: Segment[] = [];
  /** Page and entry of each tail. */
  readonly #tails = new Set<string>();
  /** The row's list of pages, and its offsets in the head; `#othersAt` undefined: they begin the first segment. */
  #extents: Buffer = Buffer.alloc(0);
  #firstAt = 0;
  #othersAt: number | undefined;
  /** The extent that is read, and its pages that are left. */
  #extent = 0;
  #left = 0;
  #page = 0;
  /** The part of the row that is read: the head, or a piece. */
  #bytes: Buffer;
  #at = 0;

  constructor(layout: AriaLayout, head: Buffer, pages: AriaPages) {
    this.#layout = layout;
    this.#pages = pages;
    this.#head = head;
    this.#bytes = head;
  }

  /** Moves the parts that are on other pages. Returns the blob pages that are in use afterwards. */
  move(): readonly number[] {
    this.#read();
    const plans = this.#segments.map(distributed);
    const filled = plans.flat().filter(({ bytes }) => bytes > 0);
    const extents = this.#newExtents(filled.map(({ piece }) => piece));
    extents.copy(this.#head, this.#firstAt, 0, EXTENT_BYTES);
    const others = extents.subarray(EXTENT_BYTES);
    if (this.#othersAt !== undefined) others.copy(this.#head, this.#othersAt);
    for (const [index, parts] of plans.entries())
      this.#spread(parts, index === 0 && this.#othersAt === undefined ? others : Buffer.alloc(0));
    return filled.filter(({ piece }) => piece.entry === undefined).map(({ piece }) => piece.page);
  }

  #read(): void {
    const { hasFieldLengths, hasRowChecksums, nullBytes, emptyBytes, fieldOffsetBytes, columns, fixedColumns } =
      this.#layout;
    const flags = this.#take(1)[0] ?? 0;
    for (const [bit, bytes] of HEADER_PARTS) if ((flags & bit) !== 0) this.#take(bytes);
    const count = this.#takeLength();
    this.#firstAt = this.#at;
    const first = this.#take(EXTENT_BYTES);
    this.#extents = Buffer.concat([first], count * EXTENT_BYTES);
    this.#openExtent(0);
    const lengthBytes = hasFieldLengths ? this.#takeLength() : 0;
    if (hasRowChecksums) this.#take(1);
    const nulls = this.#take(nullBytes);
    const empties = this.#take(emptyBytes);
    this.#take(fieldOffsetBytes);
    if (count > 1) {
      const others = this.#takeLong((count - 1) * EXTENT_BYTES);
      others.copy(this.#extents, EXTENT_BYTES);
      if (this.#bytes === this.#head) this.#othersAt = this.#at - others.length;
    }
    for (const column of columns.slice(0, fixedColumns)) this.#takeFixed(column.length);
    const lengths = new Lengths(this.#takeLong(lengthBytes));
    for (const column of columns.slice(fixedColumns)) {
      const isNull = ((nulls[column.nullAt] ?? 0) & column.nullBit) !== 0;
      const isEmpty = ((empties[column.emptyAt] ?? 0) & column.emptyBit) !== 0;
      if (!isNull && !isEmpty) this.#takeColumn(column, lengths);
    }
    this.#leave();
    if (this.#left > 0 || this.#extents.subarray((this.#extent + 1) * EXTENT_BYTES).some((byte) => byte !== 0))
      throw new RangeError('it has more pages than data');
  }

  #takeColumn(column: AriaColumn, lengths: Lengths): void {
    switch (column.type) {
      case CHAR_COLUMN:
        this.#skipLong(lengths.take(column.length <= 255 ? 1 : 2));
        break;
      case VARCHAR_COLUMN:
        this.#skipLong(lengths.take(column.length <= 256 ? 1 : 2));
        break;
      case BLOB_COLUMN: {
        const length = lengths.take(column.length - POINTER_BYTES);
        // A blob lies on pages of its own unless the whole of it is in the head.
        if (this.#bytes !== this.#head || length > this.#rest) this.#next(true);
        this.#skipLong(length);
        break;
      }
      default:
        this.#takeFixed(column.length);
    }
  }

  get #rest(): number {
    return this.#bytes.length - this.#at;
  }

  #take(bytes: number): Buffer {
    if (bytes > this.#rest) throw new RangeError('it is cut short');
    this.#at += bytes;
    return this.#bytes.subarray(this.#at - bytes, this.#at);
  }

  /** A length of one byte, or of three. */
  #takeLength(): number {
    const length = this.#take(1)[0] ?? 0;
    return length < LONG_LENGTH ? length : this.#take(2).readUInt16BE();
  }

  /** Values of fixed length are never split. */
  #takeFixed(bytes: number): void {
    if (bytes > this.#rest) {
      if (this.#bytes !== this.#head && this.#rest > 0) throw new RangeError('a value of fixed length is split');
      this.#next(false);
    }
    this.#take(bytes);
  }

  /** Takes a value that may go on from piece to piece, but not from the head to the first piece. */
  #takeLong(bytes: number): Buffer {
    const parts: Buffer[] = [];
    this.#skipLong(bytes, (part) => parts.push(part));
    return Buffer.concat(parts);
  }

  #skipLong(bytes: number, see?: (part: Buffer) => void): void {
    let left = bytes;
    if (left > this.#rest && this.#bytes === this.#head) this.#next(false);
    for (;;) {
      const part = this.#take(Math.min(left, this.#rest));
      see?.(part);
      left -= part.length;
      if (left === 0) return;
      this.#next(false);
    }
  }

  #next(startsSegment: boolean): void {
    this.#leave();
    if (this.#left === 0) this.#openExtent(this.#extent + 1);
    const piece = this.#piece();
    this.#left -= 1;
    if (startsSegment || this.#segments.length === 0) this.#segments.push([]);
    this.#segments.at(-1)?.push(piece);
    this.#at = 0;
  }

  #leave(): void {
    const piece = this.#segments.at(-1)?.at(-1);
    if (piece !== undefined) piece.used = this.#at;
  }

  #openExtent(extent: number): void {
    const at = extent * EXTENT_BYTES;
    const count = this.#extents.readUInt16LE(at + PAGE_BYTES);
    this.#extent = extent;
    this.#page = this.#extents.readUIntLE(at, PAGE_BYTES);
    this.#left = (count & IS_TAIL) === 0 ? count & ~FLAGS : 1;
    if (this.#left === 0) throw new RangeError('it has fewer pages than data');
  }

  /** Goes to the next page, or to a tail. */
  #piece(): Piece {
    const count = this.#extents.readUInt16LE(this.#extent * EXTENT_BYTES + PAGE_BYTES);
    const page = this.#page;
    const isTail = (count & IS_TAIL) !== 0;
    if (!isTail) this.#page += 1;
    const entry = isTail ? count & ~FLAGS : undefined;
    const isFirst = entry === undefined ? this.#pages.claim(page) : !this.#tails.has(`${page} ${entry}`);
    if (!isFirst) throw new RangeError(`page ${page} is named twice`);
    if (isTail) this.#tails.add(`${page} ${entry}`);
    this.#bytes = this.#bytesOf({ page, entry });
    return { page, extent: this.#extent, entry, room: this.#bytes.length, used: 0 };
  }

  /** Reads the bytes that a piece has for a row. */
  #bytesOf({ page: number, entry }: Pick<Piece, 'page' | 'entry'>): Buffer {
    const page = this.#pages.read(number);
    if (entry === undefined) {
      if (ariaPageType(page) !== ARIA_BLOB) throw new RangeError(`page ${number} is no blob page`);
      return page.subarray(ARIA_BLOB_PAGE_HEADER + ARIA_VERSION_BYTES, page.length - ARIA_CHECKSUM_BYTES);
    }
    const place = ariaPageType(page) === ARIA_TAIL ? ariaEntry(page, entry) : undefined;
    if (place === undefined) throw new RangeError(`page ${number} has no tail ${entry}`);
    return page.subarray(place.start, place.start + place.length);
  }

  /**
   * Moves a segment's data from piece to piece. A piece is read before it is written, because none gets less than it had
   * unless nothing is left.
   * @param first replaces the beginning of the data
   */
  #spread(parts: readonly Part[], first: Buffer): void {
    let [from, done] = [0, 0];
    let rest: Buffer = Buffer.alloc(0);
    for (const { piece, bytes } of parts) {
      const data = Buffer.alloc(bytes);
      for (let at = 0; at < bytes; ) {
        if (rest.length === 0) {
          const next = parts[from]?.piece;
          if (next === undefined) throw new RangeError('it has less data than pages');
          rest = this.#bytesOf(next).subarray(0, next.used);
          from += 1;
        }
        const copied = rest.copy(data, at);
        rest = rest.subarray(copied);
        at += copied;
      }
      first.subarray(done).copy(data);
      done += bytes;
      this.#write(piece, data);
    }
  }

  /** Returns the list of the pages that have data; unused places at its end are zeros. */
  #newExtents(pieces: readonly Piece[]): Buffer {
    const extents = Buffer.alloc(this.#extents.length);
    let to = 0;
    for (const extent of new Set(pieces.map((piece) => piece.extent))) {
      const at = extent * EXTENT_BYTES;
      this.#extents.copy(extents, to, at, at + EXTENT_BYTES);
      const count = this.#extents.readUInt16LE(at + PAGE_BYTES);
      const pages = pieces.filter((piece) => piece.extent === extent).length;
      if ((count & IS_TAIL) === 0) extents.writeUInt16LE((count & FLAGS) | pages, to + PAGE_BYTES);
      to += EXTENT_BYTES;
    }
    return extents;
  }

  #write({ page: number, entry }: Piece, bytes: Buffer): void {
    const page = this.#pages.read(number);
    if (entry !== undefined) {
      const { start = 0, length = 0 } = ariaEntry(page, entry) ?? {};
      bytes.copy(page, start);
      page.fill(0, start + bytes.length, start + length);
      setAriaEntryLength(page, entry, bytes.length === 0 ? 0 : Math.max(bytes.length, Math.min(MIN_TAIL, length)));
    } else {
      page.fill(0, ARIA_BLOB_PAGE_HEADER);
      bytes.copy(page, ARIA_BLOB_PAGE_HEADER);
      sealAriaPage(page, number);
    }
    this.#pages.write(number, page);
  }
}

/** Distributes a segment's data among its pieces again; the last ones can get nothing. */
function distributed(segment: Segment): readonly Part[] {
  for (const piece of segment.slice(0, -1))
    if (piece.used < piece.room) throw new RangeError(`page ${piece.page} is not filled`);
  let left = segment.reduce((sum, { used }) => sum + used, 0);
  return segment.map((piece) => {
    const bytes = Math.min(left, piece.room + (piece.entry === undefined ? ARIA_VERSION_BYTES : 0));
    left -= bytes;
    return { piece, bytes };
  });
}

/** The lengths of a row's values, one after the other. */
class Lengths {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  take(bytes: number): number {
    this.#at += bytes;
    return this.#bytes.readUIntLE(this.#at - bytes, bytes);
  }
}
