/** The header of an InnoDB page (MariaDB's fil0fil.h): whether the page is encrypted, and with which key version. */
import type { SpaceLayout } from './layout.ts';
import { FIELD, OLDER_END, OLDER_START, PAGE_TYPE } from './page-fields.ts';

export const PAGE_HEADER_BYTES = 38;

/** `empty`: never written. `strange`: the header is none of this page, because the page is damaged or being written. */
export type PageHeader = 'empty' | 'strange' | number;

/**
 * Reads a page's header: the key version that the page is encrypted with, 0 for a page in clear.
 * @param isEncrypted the tablespace has a crypt block that says so: else the older formats keep other things in the
 * place of the version
 * @param bytes the page begins at `at`
 */
export function readPageHeader(
  form: SpaceLayout['form'],
  isEncrypted: boolean,
  number: number,
  bytes: Buffer,
  at: number,
): PageHeader {
  if (bytes.readUInt32BE(at + FIELD.number) !== number) return isEmpty(bytes, at) ? 'empty' : 'strange';
  if (number === 0 && isEmpty(bytes, at)) return 'empty';
  if (form === 'full_crc32') return bytes.readUInt32BE(at + FIELD.version);
  if (!isEncrypted) return 0;
  const type = bytes.readUInt16BE(at + FIELD.type);
  // A page that was encrypted before it was compressed keeps the version, and is in clear.
  return type === PAGE_TYPE.rtree || type === PAGE_TYPE.pageCompressed
    ? 0
    : bytes.readUInt32BE(at + FIELD.olderVersion);
}

const ZEROS = Buffer.alloc(65_536);

/**
 * Tells whether a page in clear has a header and nothing else. Encryption threads leave such a page as it is: page 4 of
 * the system tablespace, where servers before 11.0 have the root of the change buffer, is one since.
 * @param bytes the page is in them, `size` bytes from `at` on
 */
export function isBlank(bytes: Buffer, at: number, size: number): boolean {
  if (bytes.readUInt16BE(at + FIELD.type) !== PAGE_TYPE.allocated) return false;
  const content = bytes.subarray(at + OLDER_START, at + size - OLDER_END);
  return content.equals(ZEROS.subarray(0, content.length));
}

function isEmpty(bytes: Buffer, at: number): boolean {
  return (
    bytes.readUInt32BE(at + FIELD.number) === 0 &&
    bytes.readUInt32BE(at + FIELD.lsn) === 0 &&
    bytes.readUInt32BE(at + FIELD.lsn + 4) === 0 &&
    bytes.readUInt16BE(at + FIELD.type) === 0
  );
}
