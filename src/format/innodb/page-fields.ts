/** Places and values in the header of an InnoDB page (MariaDB's fil0fil.h). Numbers are big-endian. */

/** Offsets. `older…`: of the forms before full_crc32. */
export const FIELD = {
  /** Key version in the form full_crc32; the checksum in older forms. */
  version: 0,
  checksum: 0,
  number: 4,
  lsn: 16,
  type: 24,
  olderVersion: 26,
  /** Checksum of the page as it is encrypted. */
  olderChecksum: 30,
  spaceId: 34,
} as const;

export const PAGE_TYPE = {
  allocated: 0,
  spaceHeader: 8,
  rtree: 17_854,
  index: 17_855,
  pageCompressed: 34_354,
  pageCompressedEncrypted: 37_401,
} as const;

/** Bit of the type of a page-compressed page in the form full_crc32; the others are its length in units of 256 bytes. */
export const COMPRESSED_BIT = 0x8000;

/** Bytes before and after the encrypted range. */
export const [FULL_CRC32_START, FULL_CRC32_END] = [26, 4] as const;
export const [OLDER_START, OLDER_END] = [38, 8] as const;
