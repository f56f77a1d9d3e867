/** Checksums of InnoDB's pages in clear (MariaDB's buf0checksum.cc and page0zip.cc). */
import { crc32c } from '../crc32c.ts';
import type { PageForm, SpaceLayout } from './layout.ts';
import { COMPRESSED_BIT, FIELD, FULL_CRC32_END, OLDER_END, OLDER_START } from './page-fields.ts';

/** Returns the length of what a page's checksum covers and the checksum itself: a compressed page is shorter. */
export function writtenBytes({ form }: Pick<SpaceLayout, 'form'>, page: Buffer): number {
  const type = page.readUInt16BE(FIELD.type);
  if (form !== 'full_crc32' || (type & COMPRESSED_BIT) === 0) return page.length;
  return (type & ~COMPRESSED_BIT) << 8;
}

/** Tells whether a page of the form full_crc32 has the right checksum, which covers the bytes as they are in the file. */
export function isIntact(layout: Pick<SpaceLayout, 'form'>, page: Buffer): boolean {
  const end = writtenBytes(layout, page) - FULL_CRC32_END;
  return end > 0 && end + FULL_CRC32_END <= page.length && crc32c(page.subarray(0, end)) === page.readUInt32BE(end);
}

/** Gives a page in clear the checksum of its bytes. */
export function sealPage({ form }: Pick<SpaceLayout, 'form'>, page: Buffer): void {
  if (form === 'full_crc32') {
    const end = writtenBytes({ form }, page) - FULL_CRC32_END;
    page.writeUInt32BE(crc32c(page.subarray(0, end)), end);
    return;
  }
  const checksum = coveredChecksum(form, page);
  page.writeUInt32BE(checksum, FIELD.checksum);
  if (form === 'older') page.writeUInt32BE(checksum, page.length - OLDER_END);
}

/** Returns the CRC-32C of a page before full_crc32: of its bytes in clear, or of those of an encrypted page. */
export function coveredChecksum(form: PageForm, page: Buffer): number {
  const part = (from: number, to: number): number => crc32c(page.subarray(from, to));
  if (form === 'zip') return (part(4, 16) ^ part(24, 26) ^ part(34, page.length)) >>> 0;
  return (part(4, 26) ^ part(OLDER_START, page.length - OLDER_END)) >>> 0;
}
