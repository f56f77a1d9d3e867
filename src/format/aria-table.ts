/**
 * Aria tables (MariaDB's ma_open.c, maria_def.h, ma_blockrec.h and ma_crypt.c): whether a table is encrypted, and with
 * which key version.
 */

/** Aria files do not name their key: it is this one, except for temporary tables. */
export const ARIA_KEY_ID = 1;
/** Bytes of an .MAI file's beginning that `parseAriaIndex` needs. */
export const ARIA_INDEX_HEAD = 24;

const MAGIC = Buffer.from([0xfe, 0xfe, 0x09, 0x03]);
const BASE = 12;
/** Offsets in the base information. */
const [EXTRA_OPTIONS, BLOCK_SIZE, BASE_BYTES] = [90, 100, 102];
const BORN_TRANSACTIONAL = 106;
const ENCRYPTED = 1;
const [HEADER_LENGTH, DATA_FORMAT] = [6, 22];
/** BLOCK_RECORD, ROW_FORMAT=PAGE: the only format whose data lies in pages, and the only one that is encrypted. */
const PAGES = 3;
/** Offsets in the state, which follows the header. */
const [OPEN_COUNT, INDEX_LENGTH, DATA_LENGTH] = [24, 89, 97];
/** Bytes of an .MAI file's beginning that `ariaLengths` needs. */
export const ARIA_STATE_HEAD = 105;
const MIN_BLOCK = 1024;
/** Bits 3 of the page type are 0. */
const [PAGE_TYPE, TYPE_MASK] = [7, 0x7f];
const [HEAD_PAGE, TAIL_PAGE, BLOB_PAGE] = [1, 2, 3];
const [ROW_VERSION, BLOB_VERSION] = [12, 8];

/** Bytes of a data page that `ariaPageVersion` needs. */
export const ARIA_PAGE_HEAD = 16;

export interface AriaTable {
  readonly isEncrypted: boolean;
  readonly blockSize: number;
}

export const ARIA_BASE_HEAD = BASE_BYTES;
/** Bytes of the base information that `parseAriaPages` needs. */
export const ARIA_PAGES_HEAD = 107;

/** The places of key versions in an encrypted table's files. */
export interface AriaPages extends AriaTable {
  /** Offset of the first page of the .MAI file. */
  readonly firstIndexPage: number;
  /** Offset of the key version in a page of the .MAI file; the key's number, its flags and the used length follow. */
  readonly indexVersion: number;
  /** False: the rows are in no pages, and never encrypted. */
  readonly hasDataPages: boolean;
}

/** @param head the beginning of the .MAI file @param base the base information */
export function parseAriaPages(head: Buffer, base: Buffer): AriaPages | undefined {
  const table = parseAriaBase(base);
  if (table.blockSize < MIN_BLOCK || table.blockSize % MIN_BLOCK !== 0) return undefined;
  return {
    ...table,
    firstIndexPage: Math.ceil(head.readUInt16BE(HEADER_LENGTH) / table.blockSize) * table.blockSize,
    indexVersion: base[BORN_TRANSACTIONAL] === 0 ? 7 : 13,
    hasDataPages: head[DATA_FORMAT] === PAGES,
  };
}

/** Bytes at the end of a bitmap page that are its checksum. */
const BITMAP_SUFFIX = 4;
/** Bytes of a bitmap for each 16 pages. */
const BITMAP_UNIT = 6;

/** Returns the number of pages from one bitmap page of the .MAD file to the next (ma_bitmap.c). */
export function bitmapEvery({ blockSize }: AriaTable): number {
  return Math.floor((blockSize - BITMAP_SUFFIX) / BITMAP_UNIT) * 16 + 1;
}

/**
 * Returns the bytes that the two files of a table have at least. Undefined: a server had the table open, and wrote no
 * lengths since.
 * @param head the beginning of the .MAI file
 */
export function ariaLengths(head: Buffer): { readonly index: number; readonly data: number } | undefined {
  if (head.readUInt16BE(OPEN_COUNT) !== 0) return undefined;
  return { index: Number(head.readBigUInt64BE(INDEX_LENGTH)), data: Number(head.readBigUInt64BE(DATA_LENGTH)) };
}

/** Bytes of an index page's header. */
const ARIA_INDEX_PAGE_HEAD = 21;

/** Returns the key version of an index page. Undefined: the page was never written. */
export function ariaIndexPageVersion({ indexVersion }: AriaPages, page: Buffer): number | undefined {
  if (page.subarray(0, ARIA_INDEX_PAGE_HEAD).every((byte) => byte === 0)) return undefined;
  return page.readUInt32LE(indexVersion);
}

export function isAriaIndex(head: Buffer): boolean {
  return head.length >= ARIA_INDEX_HEAD && head.subarray(0, MAGIC.length).equals(MAGIC);
}

/** Returns the offset of the base information. Undefined: the file is no index of an Aria table. */
export function parseAriaIndex(head: Buffer): number | undefined {
  if (!isAriaIndex(head)) return undefined;
  return head.readUInt16BE(BASE);
}

/** @param base the base information */
export function parseAriaBase(base: Buffer): AriaTable {
  const options = base.readUInt16BE(EXTRA_OPTIONS);
  return { isEncrypted: (options & ENCRYPTED) !== 0, blockSize: base.readUInt16BE(BLOCK_SIZE) };
}

/**
 * Returns the key version of a page of an encrypted table's .MAD file. Undefined: the page is a bitmap, or was never
 * written.
 */
export function ariaPageVersion(head: Buffer): number | undefined {
  switch ((head[PAGE_TYPE] ?? 0) & TYPE_MASK) {
    case HEAD_PAGE:
    case TAIL_PAGE:
      return head.readUInt32LE(ROW_VERSION);
    case BLOB_PAGE:
      return head.readUInt32LE(BLOB_VERSION);
    default:
      return undefined;
  }
}
