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
const ENCRYPTED = 1;
/** Bits 3 to 6 of the page type are 0. */
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

/** Returns the offset of the base information. Undefined: the file is no index of an Aria table. */
export function parseAriaIndex(head: Buffer): number | undefined {
  if (head.length < ARIA_INDEX_HEAD || !head.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
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
