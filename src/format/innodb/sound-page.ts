/** The checksum of a page as it lies in the file, encrypted or in clear (MariaDB's buf0buf.cc and fil0crypt.cc). */
import type { SpaceLayout } from './layout.ts';
import { coveredChecksum, isIntact } from './page-checksum.ts';
import { FIELD, OLDER_END, PAGE_TYPE } from './page-fields.ts';

/** BUF_NO_CHECKSUM_MAGIC, which servers write that verify no checksums, and for compressed pages of the older form. */
const NO_CHECKSUM = 0xdeadbeef;

/**
 * Tells whether a page has the checksum of its bytes. A page of zeros is sound: it was never written.
 * @param version the key version that its header says, 0 for a page in clear
 */
export function isSound({ form }: Pick<SpaceLayout, 'form'>, version: number, page: Buffer): boolean {
  if (form === 'full_crc32') return isIntact({ form }, page) || isZero(page);
  const type = page.readUInt16BE(FIELD.type);
  // Nothing covers the bytes of such pages.
  if (type === PAGE_TYPE.pageCompressed || type === PAGE_TYPE.pageCompressedEncrypted) return true;
  const checksum = coveredChecksum(form, page);
  if (version !== 0) return page.readUInt32BE(FIELD.olderChecksum) === checksum;
  const written = page.readUInt32BE(FIELD.checksum);
  if (written === NO_CHECKSUM) return true;
  const isSame = form === 'zip' || page.readUInt32BE(page.length - OLDER_END) === checksum;
  return (written === checksum && isSame) || isZero(page);
}

function isZero(page: Buffer): boolean {
  return page.every((byte) => byte === 0);
}
