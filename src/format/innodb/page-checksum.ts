/** Checksums of InnoDB's pages as they are in the file (MariaDB's buf0buf.cc, buf0checksum.cc and page0zip.cc). */
import { crc32c } from '../crc32c.ts';
import type { PageForm, SpaceLayout } from './layout.ts';
import { hasOldestChecksum, hasOldZipChecksum } from './old-checksums.ts';
import { COMPRESSED_BIT, FIELD, FULL_CRC32_END, OLDER_END, OLDER_START, PAGE_TYPE } from './page-fields.ts';

/** Returns the length of what a page's checksum covers and the checksum itself: a compressed page is shorter. */
export function writtenBytes({ form }: Pick<SpaceLayout, 'form'>, page: Buffer): number {
  const type = page.readUInt16BE(FIELD.type);
  if (form !== 'full_crc32' || (type & COMPRESSED_BIT) === 0) return page.length;
  return (type & ~COMPRESSED_BIT) << 8;
}

/** `number`, `tablespace`: the page's header names another. `end`: a write of the page was cut. */
export type PageDamage = 'number' | 'tablespace' | 'checksum' | 'end';

/**
 * Verifies a page, encrypted or not; an encrypted one needs no key. A page that was never written, all zeros, is sound.
 * Page compression of the older form has no checksum, and such a page passes.
 * @param isEncrypted the tablespace has a crypt block that says so
 * @param number of the page in its tablespace
 */
export function pageDamage(
  layout: SpaceLayout,
  isEncrypted: boolean,
  number: number,
  page: Buffer,
): PageDamage | undefined {
  if (isZero(page)) return undefined;
  if (page.readUInt32BE(FIELD.number) !== number) return 'number';
  const hidesItsSpace = layout.form === 'full_crc32' && (isEncrypted || layout.isPageCompressed);
  if (!hidesItsSpace && page.readUInt32BE(FIELD.spaceId) !== layout.id) return 'tablespace';
  if (!isIntact(layout, page)) return 'checksum';
  return hasItsEnd(layout, page) ? undefined : 'end';
}

/** Tells whether a page that was written has a checksum that is right for it as it is, encrypted or not. */
export function isIntact(layout: Pick<SpaceLayout, 'form'>, page: Buffer): boolean {
  if (layout.form === 'full_crc32') {
    const bytes = writtenBytes(layout, page);
    const end = bytes - FULL_CRC32_END;
    const isPossible = bytes === page.length ? !isCompressed(page) : end > 0 && bytes < page.length;
    return isPossible && crc32c(page.subarray(0, end)) === page.readUInt32BE(end);
  }
  const type = page.readUInt16BE(FIELD.type);
  if (type === PAGE_TYPE.pageCompressed || type === PAGE_TYPE.pageCompressedEncrypted) return true;
  const checksum = coveredChecksum(layout.form, page);
  if (page.readUInt32BE(FIELD.olderVersion) !== 0 && page.readUInt32BE(FIELD.olderChecksum) === checksum) return true;
  const stored = page.readUInt32BE(FIELD.checksum);
  if (layout.form === 'zip') return stored === checksum || hasOldZipChecksum(page);
  const atEnd = page.readUInt32BE(page.length - OLDER_END);
  return (stored === checksum && atEnd === checksum) || hasOldestChecksum(page);
}

/** Tells whether a page in clear repeats a part of its LSN at its end; true for pages that do not. */
export function hasItsEnd({ form }: SpaceLayout, page: Buffer): boolean {
  const lsn = page.readUInt32BE(FIELD.lsn + 4);
  if (form === 'full_crc32') {
    const isClear = page.readUInt32BE(FIELD.version) === 0 && !isCompressed(page);
    return !isClear || page.readUInt32BE(page.length - 8) === lsn;
  }
  const type = page.readUInt16BE(FIELD.type);
  const isCompressedPage = type === PAGE_TYPE.pageCompressed || type === PAGE_TYPE.pageCompressedEncrypted;
  return form === 'zip' || isCompressedPage || page.readUInt32BE(page.length - 4) === lsn;
}

function isCompressed(page: Buffer): boolean {
  return (page.readUInt16BE(FIELD.type) & COMPRESSED_BIT) !== 0;
}

const ZEROS = Buffer.alloc(65_536);

function isZero(page: Buffer): boolean {
  return page.equals(ZEROS.subarray(0, page.length));
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
