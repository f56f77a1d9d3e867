/** The header of InnoDB's redo log (MariaDB's log0log.h and log0crypt.cc): the key that the log is encrypted with. */
import { crc32c } from '../crc32c.ts';

/** Bytes of the file's beginning that `parseRedoLog` needs; of an older format it needs `OLD_HEADER`. */
export const REDO_LOG_HEADER = 512;
export const OLD_REDO_LOG_HEADER = 2048;
/** The format of MariaDB 10.8 and later; early releases use it for encrypted logs as well. */
export const REDO_FORMAT = 0x50687973;
export const REDO_FORMAT_ENCRYPTED = 0xf09f979d;
/** Formats of MariaDB 10.2, 10.3, 10.4 and 10.5 to 10.7. Their highest bit marks an encrypted log. */
const OLD_FORMATS: readonly number[] = [1, 103, 104, 0x50485953];
const ENCRYPTED = 0x80000000;
const NO_LOG = 0;

const [FORMAT, KEY_ID, KEY_VERSION, CHECKSUM] = [0, 48, 52, 508];
const OLD_CHECKPOINTS = [512, 1536];
const [OLD_LSN, OLD_KEY_VERSION] = [8, 32];
const FORMATS_WITH_KEYS: readonly number[] = [104, 0x50485953].map((format) => format + ENCRYPTED);
const REDO_BLOCK = 512;
const [BLOCK_NUMBER, BLOCK_KEY_VERSION] = [0, 504];
const FLUSH_BIT = 0x80000000;
const BLOCK_NUMBERS = 0x3fffffffn;
/** A block whose number is ahead by more is behind. */
const OLDER_BLOCKS = 0x20000000;
/** LOG_DEFAULT_ENCRYPTION_KEY; temporary tablespaces have it, too. */
export const REDO_LOG_KEY_ID = 1;

export interface LogKey {
  readonly id: number;
  readonly versions: readonly number[];
}

/**
 * Returns undefined for a log that is unencrypted or damaged, and `unknown` for a format that may be encrypted in any
 * way.
 */
export function parseRedoLog(header: Buffer): LogKey | 'unknown' | undefined {
  if (!isWhole(header, 0)) return undefined;
  const format = header.readUInt32BE(FORMAT);
  const id = header.readUInt32BE(KEY_ID);
  if (format === REDO_FORMAT && id === 0) return undefined;
  if (format === REDO_FORMAT || format === REDO_FORMAT_ENCRYPTED) {
    return { id, versions: [header.readUInt32BE(KEY_VERSION)] };
  }
  if (format === NO_LOG || OLD_FORMATS.includes(format)) return undefined;
  if (format < ENCRYPTED || !OLD_FORMATS.includes(format - ENCRYPTED)) return 'unknown';
  const checkpoints = OLD_CHECKPOINTS.filter((at) => isWhole(header, at));
  if (checkpoints.length === 0) return undefined;
  return { id: REDO_LOG_KEY_ID, versions: checkpoints.map((at) => header.readUInt32BE(at + OLD_KEY_VERSION)) };
}

/**
 * The blocks of a log of MariaDB 10.4 to 10.7, each of which names the key version that it is encrypted with. Undefined:
 * the log has no such blocks.
 * @param header `OLD_REDO_LOG_HEADER` bytes
 */
export function parseRedoBlocks(header: Buffer): RedoBlocks | undefined {
  if (!isWhole(header, 0) || !FORMATS_WITH_KEYS.includes(header.readUInt32BE(FORMAT))) return undefined;
  const lsns = OLD_CHECKPOINTS.filter((at) => isWhole(header, at)).map((at) => header.readBigUInt64BE(at + OLD_LSN));
  const latest = lsns.reduce<bigint | undefined>(
    (last, lsn) => (last === undefined || lsn > last ? lsn : last),
    undefined,
  );
  return { first: latest === undefined ? undefined : Number((latest / BigInt(REDO_BLOCK)) & BLOCK_NUMBERS) + 1 };
}

export interface RedoBlocks {
  /** Number of the first block that a start reads. Undefined: the file has no checkpoint, and any may be read. */
  readonly first: number | undefined;
}

/** Returns the key version of a block that a start may read. Undefined: the block is damaged, older or was never written. */
export function blockVersion({ first }: RedoBlocks, block: Buffer): number | undefined {
  if (!isWhole(block, 0)) return undefined;
  const number = block.readUInt32BE(BLOCK_NUMBER) & ~FLUSH_BIT;
  // Numbers begin again after 2^30.
  const isOlder = first !== undefined && ((number - first) & Number(BLOCK_NUMBERS)) >= OLDER_BLOCKS;
  return isOlder ? undefined : block.readUInt32BE(BLOCK_KEY_VERSION) || undefined;
}

/** True for an undamaged header that says that the log is encrypted, also where it names no version. */
export function isEncryptedRedoLog(header: Buffer): boolean {
  if (!isWhole(header, 0)) return false;
  const format = header.readUInt32BE(FORMAT);
  return format >= ENCRYPTED && OLD_FORMATS.includes(format - ENCRYPTED);
}

/** Tells whether a file begins with the undamaged header of a known redo log. */
export function isRedoLog(header: Buffer): boolean {
  if (header.length < REDO_LOG_HEADER) return false;
  const format = header.readUInt32BE(FORMAT);
  const known = [
    REDO_FORMAT,
    REDO_FORMAT_ENCRYPTED,
    NO_LOG,
    ...OLD_FORMATS,
    ...OLD_FORMATS.map((old) => old + ENCRYPTED),
  ];
  return known.includes(format) && isWhole(header, 0);
}

function isWhole(header: Buffer, at: number): boolean {
  if (header.length < at + REDO_LOG_HEADER) return false;
  return crc32c(header.subarray(at, at + CHECKSUM)) === header.readUInt32BE(at + CHECKSUM);
}
