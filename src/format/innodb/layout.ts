/** The size and form of a tablespace's pages (MariaDB's fsp0fsp.h, fil0fil.h and fil0crypt.h). */
import { FIELD } from './page-fields.ts';

/** Bytes of page 0 that `parseLayout` needs. */
export const LAYOUT_HEAD = 58;

/** FSP_SIZE. */
const PAGES = 46;
const FLAGS = 54;
const FULL_CRC32 = 0x10;
const LEGACY_PAGE_COMPRESSION = 0x10000;
const DEFAULT_PAGE = 16_384;
const MIB = 1_048_576;
/** XDES_ARR_OFFSET: the descriptors of extents begin here. */
const DESCRIPTORS = 150;
/** MariaDB adds FSP_HEADER_OFFSET to the end of the descriptors, whose offset has it already. */
const GAP = 38;
/** Bytes of a descriptor before the states of its pages. */
const DESCRIPTOR_HEAD = 24;

/** `full_crc32`: the checksum of MariaDB 10.5. `zip`: ROW_FORMAT=COMPRESSED, which has the older checksums. */
export type PageForm = 'full_crc32' | 'older' | 'zip';

export interface SpaceLayout {
  readonly id: number;
  readonly form: PageForm;
  /** Bytes of a page in memory. */
  readonly pageBytes: number;
  /** Bytes of a page in the file. */
  readonly fileBytes: number;
  /** True: pages may be written with fewer bytes (PAGE_COMPRESSED). */
  readonly isPageCompressed: boolean;
  /** The algorithm of page compression, by the server's numbers; 0 where each page names its own, or none is compressed. */
  readonly compression: number;
  readonly pagesOfExtent: number;
}

type PageSizes = Pick<SpaceLayout, 'fileBytes' | 'pagesOfExtent'>;

/** Returns undefined when the flags are those of no tablespace. */
export function parseLayout(head: Buffer): SpaceLayout | undefined {
  const flags = head.readUInt32BE(FLAGS);
  const isFullCrc32 = (flags & FULL_CRC32) !== 0;
  const shift = isFullCrc32 ? flags & 15 : (flags >>> 6) & 15;
  const zip = isFullCrc32 ? 0 : (flags >>> 1) & 15;
  const pageBytes = shift === 0 && !isFullCrc32 ? DEFAULT_PAGE : 512 << shift;
  if (pageBytes < 4_096 || pageBytes > 65_536 || zip > 5) return undefined;
  return {
    id: head.readUInt32BE(FIELD.spaceId),
    form: isFullCrc32 ? 'full_crc32' : zip > 0 ? 'zip' : 'older',
    pageBytes,
    fileBytes: zip === 0 ? pageBytes : 512 << zip,
    compression: isFullCrc32 ? (flags >>> 5) & 7 : 0,
    isPageCompressed: isFullCrc32 ? flags >>> 5 !== 0 : (flags & LEGACY_PAGE_COMPRESSION) !== 0,
    pagesOfExtent: pageBytes > DEFAULT_PAGE ? 64 : MIB / pageBytes,
  };
}

/**
 * Returns how many pages page 0 says that the tablespace has, in all its files: a server makes files longer before it
 * writes this number, so that they may have more.
 * @param head the beginning of page 0
 */
export function pagesOfSpace(head: Buffer): number {
  return head.readUInt32BE(PAGES);
}

/** Returns the offset of the crypt block in page 0, after the descriptors of the extents that one page describes. */
export function cryptBlockAt(layout: PageSizes): number {
  return descriptorsEnd(layout) + GAP;
}

/** Returns the bytes of an extent's descriptor. */
export function descriptorBytes(pagesOfExtent: number): number {
  return DESCRIPTOR_HEAD + pagesOfExtent / 4;
}

/** Bytes of a page's beginning that hold the descriptors of the pages that it describes. */
export function descriptorsEnd({ fileBytes, pagesOfExtent }: PageSizes): number {
  return DESCRIPTORS + descriptorBytes(pagesOfExtent) * Math.floor(fileBytes / pagesOfExtent);
}

/**
 * Returns 1 for a free page, else 0.
 * @param page the beginning of the descriptor page, at least to the descriptor of the page
 * @param number from the descriptor page on
 */
export function isFreePage(
  { pagesOfExtent }: Pick<SpaceLayout, 'pagesOfExtent'>,
  page: Buffer,
  number: number,
): number {
  const inExtent = number % pagesOfExtent;
  const descriptor = DESCRIPTORS + Math.floor(number / pagesOfExtent) * descriptorBytes(pagesOfExtent);
  return ((page[descriptor + DESCRIPTOR_HEAD + (inExtent >> 2)] ?? 0) >> ((inExtent & 3) * 2)) & 1;
}
