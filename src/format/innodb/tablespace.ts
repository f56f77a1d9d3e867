/** The first page of an InnoDB tablespace, as MariaDB's fsp0fsp.h and fil0crypt.cc lay it out: its encryption. */

/** Bytes that `cryptBlockOffset` and `parseTablespace` need of the file's beginning. */
export const PAGE_ZERO_HEAD = 178;
export const CRYPT_BLOCK = 33;

const PAGE_TYPE = 24;
/** FIL_PAGE_TYPE_FSP_HDR */
const SPACE_HEADER = 8;
const [SPACE_ID, FLAGS, STATES] = [34, 54, 174];
/** FSP_HEADER_OFFSET + XDES_ARR_OFFSET */
const DESCRIPTORS = 188;
const MAGIC = Buffer.from([0x73, 0x0e, 0x0c, 0x52, 0x45, 0x74]);
const [TYPE, IV_LENGTH, IV, MIN_VERSION, KEY_ID, ENCRYPTION] = [6, 7, 8, 24, 28, 32];
const SCHEME_1 = 1;
/** ENCRYPTED=NO */
const ENCRYPTION_OFF = 2;
const IV_BYTES = 16;
const FULL_CRC32 = 0x10;
const DEFAULT_PAGE = 16_384;
const MIB = 1_048_576;

export interface Tablespace {
  readonly id: number;
  readonly keyId: number;
  readonly iv: Buffer;
  /** Undefined: pages of this format are not tested (compressed, or with checksums from before full_crc32). */
  readonly pageSize: number | undefined;
  /** States of the first extent's pages, two bits each. */
  readonly states: Buffer;
}

/** Tells whether the file begins like the system tablespace. */
export function isSystemTablespace(read: (offset: number, length: number) => Buffer): boolean {
  const head = read(0, PAGE_ZERO_HEAD);
  if (head.length < PAGE_ZERO_HEAD) return false;
  return head.readUInt16BE(PAGE_TYPE) === SPACE_HEADER && head.readUInt32BE(SPACE_ID) === 0;
}

/**
 * Returns the offset of the crypt block in page 0: it follows the descriptors of the extents that one page describes.
 */
export function cryptBlockOffset(head: Buffer): number {
  const flags = head.readUInt32BE(FLAGS);
  const isFullCrc32 = (flags & FULL_CRC32) !== 0;
  const shift = isFullCrc32 ? flags & 15 : (flags >>> 6) & 15;
  const zip = isFullCrc32 ? 0 : (flags >>> 1) & 15;
  const page = shift === 0 ? DEFAULT_PAGE : 512 << shift;
  const physical = zip === 0 ? page : 512 << zip;
  const extent = page > DEFAULT_PAGE ? 64 : MIB / page;
  return DESCRIPTORS + (24 + extent / 4) * Math.floor(physical / extent);
}

/** Tells whether the table was defined with ENCRYPTED=NO: then no setting of the server encrypts it. */
export function isDefinedClear(block: Buffer): boolean {
  return block.subarray(0, MAGIC.length).equals(MAGIC) && block[ENCRYPTION] === ENCRYPTION_OFF;
}

/** Returns undefined when no page of the tablespace is encrypted. */
export function parseTablespace(head: Buffer, block: Buffer): Tablespace | undefined {
  if (!block.subarray(0, MAGIC.length).equals(MAGIC) || block[TYPE] !== SCHEME_1) return undefined;
  // A minimum version of 0 means that some pages are unencrypted.
  if (block[ENCRYPTION] === ENCRYPTION_OFF && block.readUInt32BE(MIN_VERSION) === 0) return undefined;
  return {
    id: head.readUInt32BE(SPACE_ID),
    keyId: block.readUInt32BE(KEY_ID),
    iv: Buffer.from(block.subarray(IV, IV + IV_BYTES)),
    pageSize: block[IV_LENGTH] === IV_BYTES ? judgedPageSize(head.readUInt32BE(FLAGS)) : undefined,
    states: Buffer.from(head.subarray(STATES, PAGE_ZERO_HEAD)),
  };
}

function judgedPageSize(flags: number): number | undefined {
  const shift = flags & 15;
  return flags >>> 4 === FULL_CRC32 >>> 4 && shift >= 3 && shift <= 7 ? 512 << shift : undefined;
}
