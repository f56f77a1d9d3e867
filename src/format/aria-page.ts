/** Head and tail pages of a decrypted Aria table, and the bits that bitmap pages have for them (ma_blockrec.h, ma_bitmap.c). */
import { ARIA_CHECKSUM_BYTES, ARIA_HEAD, ARIA_ROW_PAGE_HEADER, ariaPageType, sealAriaPage } from './aria-cipher.ts';

/** Offsets in a page: entries of the directory, the first free of them, bytes of empty space. */
const [ENTRIES, FIRST_FREE, EMPTY_SPACE] = [8, 9, 10];
const ENTRY_BYTES = 4;
const NO_ENTRY = 255;
const MOST_ENTRIES = 255;
const BITS_A_PAGE = 3;
/** Bytes of a bitmap for each 16 pages. */
const BITMAP_UNIT = 6;
/** Bits of a full tail page, or of a blob page. */
export const FULL_TAIL = 7;

/** Part of a row, as a page's directory has it. */
export interface AriaEntry {
  readonly start: number;
  readonly length: number;
}

export function ariaEntries(page: Buffer): number {
  return page[ENTRIES] ?? 0;
}

/** Undefined: the entry is free, or no part of the page. */
export function ariaEntry(page: Buffer, number: number): AriaEntry | undefined {
  const at = entryAt(page, number);
  if (number >= ariaEntries(page) || at < ARIA_ROW_PAGE_HEADER) return undefined;
  const [start, length] = [page.readUInt16LE(at), page.readUInt16LE(at + 2)];
  if (start < ARIA_ROW_PAGE_HEADER || start + length > entryAt(page, ariaEntries(page) - 1)) return undefined;
  return { start, length };
}

/** @param length 0: the entry becomes free */
export function setAriaEntryLength(page: Buffer, number: number, length: number): void {
  const at = entryAt(page, number);
  if (length === 0) page.writeUInt16LE(0, at);
  page.writeUInt16LE(length, at + 2);
}

function entryAt(page: Buffer, number: number): number {
  return page.length - ARIA_CHECKSUM_BYTES - ENTRY_BYTES * (number + 1);
}

/**
 * Completes a head or tail page of a table in clear: its list of free entries, its empty space, and its checksum.
 * @param blobs the table's number of blob columns
 * @returns the page's bits in the bitmap; 0: the page is free
 */
export function finishAriaPage(page: Buffer, number: number, blobs: number): number {
  let entries = ariaEntries(page);
  while (entries > 0 && page.readUInt16LE(entryAt(page, entries - 1)) === 0) {
    page.fill(0, entryAt(page, entries - 1), entryAt(page, entries - 2));
    entries -= 1;
  }
  if (entries === 0) return 0;
  let [free, firstFree, rowBytes] = [0, NO_ENTRY, 0];
  for (let entry = 0; entry < entries; entry += 1) {
    const at = entryAt(page, entry);
    if (page.readUInt16LE(at) > 0) {
      rowBytes += page.readUInt16LE(at + 2);
      continue;
    }
    free += 1;
    // The last free entry comes first; each names the one before it and the one after it in the list.
    page[at + 2] = NO_ENTRY;
    page[at + 3] = firstFree;
    if (firstFree !== NO_ENTRY) page[entryAt(page, firstFree) + 2] = entry;
    firstFree = entry;
  }
  page[ENTRIES] = entries;
  page[FIRST_FREE] = firstFree;
  const empty = entryAt(page, entries - 1) - ARIA_ROW_PAGE_HEADER - rowBytes;
  page.writeUInt16LE(empty, EMPTY_SPACE);
  sealAriaPage(page, number);
  if (ariaPageType(page) === ARIA_HEAD) {
    const isFull = entries === MOST_ENTRIES && free === 0;
    return headBits(page.length, isFull ? 0 : empty);
  }
  // The server leaves an entry for each blob of a row; its number is unsigned, so that more blobs leave none.
  const most = blobs > MOST_ENTRIES ? Number.POSITIVE_INFINITY : MOST_ENTRIES - blobs;
  return tailBits(page.length, entries - free >= most ? 0 : empty);
}

/** Returns the empty space from which on a page is less full than `percent`. */
function spaceAt(blockSize: number, percent: number): number {
  const most = blockSize - ARIA_ROW_PAGE_HEADER - ARIA_CHECKSUM_BYTES;
  return most - Math.floor((most * percent) / 100);
}

function headBits(blockSize: number, empty: number): number {
  if (empty < spaceAt(blockSize, 90)) return 4;
  if (empty < spaceAt(blockSize, 60)) return 3;
  return empty < spaceAt(blockSize, 30) ? 2 : 1;
}

function tailBits(blockSize: number, empty: number): number {
  if (empty < spaceAt(blockSize, 80)) return FULL_TAIL;
  return empty < spaceAt(blockSize, 40) ? 6 : 5;
}

/** Returns the number of pages from one bitmap page to the next. */
export function ariaBitmapEvery(blockSize: number): number {
  return Math.floor((blockSize - ARIA_CHECKSUM_BYTES) / BITMAP_UNIT) * 16 + 1;
}

/** @param index the page's place after its bitmap page, from 1 on */
export function ariaBits(bitmap: Buffer, index: number): number {
  const bit = (index - 1) * BITS_A_PAGE;
  return (bitmap.readUInt16LE(bit >> 3) >> (bit & 7)) & 7;
}

export function setAriaBits(bitmap: Buffer, index: number, bits: number): void {
  const bit = (index - 1) * BITS_A_PAGE;
  const [at, shift] = [bit >> 3, bit & 7];
  bitmap.writeUInt16LE((bitmap.readUInt16LE(at) & ~(7 << shift)) | (bits << shift), at);
}
