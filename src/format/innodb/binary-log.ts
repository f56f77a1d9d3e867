/**
 * Binary logs that InnoDB writes (MariaDB's fsp_binlog.h, binlog_storage_engine=innodb of 12.3): files of pages, which no
 * server encrypts. Known from the sources only.
 */
import { crc32c } from '../crc32c.ts';

/** Bytes of the header that `isInnodbBinaryLog` needs. */
export const INNODB_BINARY_LOG_HEADER = 512;

const MAGIC = 0x010dfefe;
const [MAJOR_VERSION, CHECKSUM] = [8, 508];
const KNOWN_VERSION = 1;

/** Tells whether a file begins with an undamaged header of such a log. Numbers are little-endian. */
export function isInnodbBinaryLog(head: Buffer): boolean {
  return (
    head.length >= INNODB_BINARY_LOG_HEADER &&
    head.readUInt32LE(0) === MAGIC &&
    head.readUInt32LE(MAJOR_VERSION) <= KNOWN_VERSION &&
    crc32c(head.subarray(0, CHECKSUM)) === head.readUInt32LE(CHECKSUM)
  );
}

/** Tells whether a file name is one that the server gives such a log. */
export function isInnodbBinaryLogName(name: string): boolean {
  return /^binlog-\d{6,}\.ibb$/.test(name);
}
