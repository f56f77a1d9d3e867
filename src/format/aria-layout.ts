/** The header of an Aria table's .MAI file, as far as pages and rows need it (MariaDB's ma_open.c and ma_create.c). */

/** The most bytes of the header: its length is a 16-bit number. */
export const ARIA_HEADER_MOST = 65_535;

const MAGIC = Buffer.from([0xfe, 0xfe, 0x09, 0x03]);
/** Offsets in the file. */
const [OPTIONS, HEADER_LENGTH, BASE, DATA_FORMAT, OPEN_COUNT] = [4, 6, 12, 22, 24];
const [INDEX_BYTES, DATA_BYTES, STATE_END] = [89, 97, 105];
const HAS_ROW_CHECKSUMS = 32;
const IS_TEMPORARY = 16;
const DATA_IN_PAGES = 3;
/** Offsets in the base information. */
const [KEY_START, MIN_ROW, FIELDS, FIXED_FIELDS, FIELD_LENGTHS, EXTRA_OPTIONS] = [16, 76, 80, 82, 86, 90];
const [NULL_BYTES, FIELD_OFFSETS, BLOCK_SIZE, TRANSACTIONAL, PACK_BYTES, BLOBS] = [92, 96, 100, 106, 108, 110];
const BASE_BYTES = 137;
const IS_ENCRYPTED = 1;
const [COLUMN_BYTES, COLUMN_NUMBER_BYTES] = [20, 2];
const CRYPT_BYTES = 22;
const [SCHEME_1, SCHEME_1_BYTES] = [1, 20];
const MIN_BLOCK = 1024;

/** Column types that have a length in each row (enum en_fieldtype). */
export const [CHAR_COLUMN, BLOB_COLUMN, VARCHAR_COLUMN] = [1, 4, 8];

export interface AriaColumn {
  readonly type: number;
  readonly length: number;
  /** Places of its NULL bit, and of the bit of empty values. */
  readonly nullAt: number;
  readonly nullBit: number;
  readonly emptyAt: number;
  readonly emptyBit: number;
}

export interface AriaLayout {
  readonly blockSize: number;
  readonly isTransactional: boolean;
  /** True: an internal temporary table, which may have key 2. */
  readonly isTemporary: boolean;
  /** False: the rows are in no pages (ROW_FORMAT=FIXED and DYNAMIC), and never encrypted. */
  readonly hasDataPages: boolean;
  /** How often the table was open when the file was written; not 0 after a crash, too. */
  readonly openCount: number;
  /** Bytes of the .MAI and of the .MAD file; behind the truth while the table is open. */
  readonly indexBytes: number;
  readonly dataBytes: number;
  readonly headerBytes: number;
  /** Offset of the first index page. */
  readonly firstIndexPage: number;
  /** Undefined: the table is not encrypted. */
  readonly crypt: { readonly space: number; readonly iv: Buffer } | undefined;
  /** The parts of a row. */
  readonly hasRowChecksums: boolean;
  readonly hasFieldLengths: boolean;
  readonly minRowBytes: number;
  readonly nullBytes: number;
  readonly emptyBytes: number;
  readonly fieldOffsetBytes: number;
  /** Columns at the beginning that have a fixed length and no NULL. */
  readonly fixedColumns: number;
  readonly blobs: number;
  readonly columns: readonly AriaColumn[];
}

/** @param head the beginning of the .MAI file. Undefined: it is none, or a damaged one */
export function parseAriaLayout(head: Buffer): AriaLayout | undefined {
  if (head.length < STATE_END || !head.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const headerBytes = head.readUInt16BE(HEADER_LENGTH);
  const baseAt = head.readUInt16BE(BASE);
  if (head.length < headerBytes || baseAt + BASE_BYTES > headerBytes) return undefined;
  const base = head.subarray(baseAt, headerBytes);
  const blockSize = base.readUInt16BE(BLOCK_SIZE);
  const isEncrypted = (base.readUInt16BE(EXTRA_OPTIONS) & IS_ENCRYPTED) !== 0;
  const fields = base.readUInt16BE(FIELDS);
  const end = headerBytes - (isEncrypted ? CRYPT_BYTES : 0);
  const columnsAt = end - fields * (COLUMN_BYTES + COLUMN_NUMBER_BYTES);
  if (blockSize < MIN_BLOCK || blockSize % MIN_BLOCK !== 0 || columnsAt < baseAt + BASE_BYTES) return undefined;
  const crypt = isEncrypted ? parseCrypt(head.subarray(end, headerBytes)) : undefined;
  if (isEncrypted && crypt === undefined) return undefined;
  const firstIndexPage = Number(base.readBigUInt64BE(KEY_START));
  if (firstIndexPage < headerBytes || firstIndexPage > ARIA_HEADER_MOST || firstIndexPage % blockSize > 0)
    return undefined;
  const options = head.readUInt16BE(OPTIONS);
  return {
    blockSize,
    isTransactional: base[TRANSACTIONAL] !== 0,
    isTemporary: (options & IS_TEMPORARY) !== 0,
    hasDataPages: head[DATA_FORMAT] === DATA_IN_PAGES,
    openCount: head.readUInt16BE(OPEN_COUNT),
    indexBytes: Number(head.readBigUInt64BE(INDEX_BYTES)),
    dataBytes: Number(head.readBigUInt64BE(DATA_BYTES)),
    headerBytes,
    firstIndexPage,
    crypt,
    hasRowChecksums: (options & HAS_ROW_CHECKSUMS) !== 0,
    hasFieldLengths: base.readUInt16BE(FIELD_LENGTHS) !== 0,
    minRowBytes: base.readUInt32BE(MIN_ROW),
    nullBytes: base.readUInt16BE(NULL_BYTES),
    emptyBytes: base.readUInt16BE(PACK_BYTES),
    fieldOffsetBytes: 2 * base.readUInt16BE(FIELD_OFFSETS),
    fixedColumns: base.readUInt16BE(FIXED_FIELDS),
    blobs: base.readUInt16BE(BLOBS),
    columns: Array.from({ length: fields }, (_, index) => parseColumn(head, columnsAt + index * COLUMN_BYTES)),
  };
}

function parseCrypt(block: Buffer): AriaLayout['crypt'] {
  if (block[0] !== SCHEME_1 || block[1] !== SCHEME_1_BYTES) return undefined;
  return { space: block.readUInt32LE(2), iv: Buffer.from(block.subarray(6)) };
}

function parseColumn(head: Buffer, at: number): AriaColumn {
  return {
    type: head.readInt16BE(at + 4),
    length: head.readUInt16BE(at + 6),
    nullAt: head.readUInt16BE(at + 10),
    emptyAt: head.readUInt16BE(at + 12),
    nullBit: head[at + 14] ?? 0,
    emptyBit: head[at + 15] ?? 0,
  };
}

/** Turns the header of an encrypted table in place into that of a table in clear. */
export function clearAriaHeader(head: Buffer, { headerBytes }: AriaLayout): void {
  head.fill(0, headerBytes - CRYPT_BYTES, headerBytes);
  head.writeUInt16BE(headerBytes - CRYPT_BYTES, HEADER_LENGTH);
  const options = head.readUInt16BE(BASE) + EXTRA_OPTIONS;
  head.writeUInt16BE(head.readUInt16BE(options) & ~IS_ENCRYPTED, options);
}
