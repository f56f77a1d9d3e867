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
const OLD_KEY_VERSION = 32;
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
