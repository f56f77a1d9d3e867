/** Checksums of InnoDB's pages in clear (MariaDB's buf0checksum.cc and page0zip.cc). */
import { crc32c } from '../crc32c.ts';
import type { SpaceLayout } from './layout.ts';

const TYPE = 24;
const CHECKSUM = 0;
const COMPRESSED_IN_FULL_CRC32 = 0x8000;
const END_LSN_BYTES = 8;

/** Returns the length of what a page's checksum covers and the checksum itself: a compressed page is shorter. */
export function writtenBytes({ form }: Pick<SpaceLayout, 'form'>, page: Buffer): number {
  const type = page.readUInt16BE(TYPE);
  if (form !== 'full_crc32' || (type & COMPRESSED_IN_FULL_CRC32) === 0) return page.length;
  return (type & ~COMPRESSED_IN_FULL_CRC32) << 8;
}

/** Gives a page in clear the checksum of its bytes. */
export function sealPage({ form }: Pick<SpaceLayout, 'form'>, page: Buffer): void {
  const part = (from: number, to: number): number => crc32c(page.subarray(from, to));
  if (form === 'full_crc32') {
    const end = writtenBytes({ form }, page) - 4;
    page.writeUInt32BE(part(0, end), end);
  } else if (form === 'zip') {
    page.writeUInt32BE((part(4, 16) ^ part(24, 26) ^ part(34, page.length)) >>> 0, CHECKSUM);
  } else {
    const end = page.length - END_LSN_BYTES;
    const checksum = (part(4, 26) ^ part(38, end)) >>> 0;
    page.writeUInt32BE(checksum, CHECKSUM);
    page.writeUInt32BE(checksum, end);
  }
}
