/** InnoDB tablespaces made and encrypted as MariaDB does it, for tests that need many pages or special ones. */
import { createCipheriv } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { crc32c } from '../../src/format/crc32c.ts';
import type { DataKey } from '../../src/format/encryption-scheme.ts';
import {
  cryptBlockAt,
  descriptorBytes,
  type PageForm,
  parseLayout,
  type SpaceLayout,
} from '../../src/format/innodb/layout.ts';
import { coveredChecksum, sealPage } from '../../src/format/innodb/page-checksum.ts';
import { pageIv } from '../../src/format/innodb/page-cipher.ts';

export const SPACE_ID = 77;
export const KEY_ID = 5;
export const SPACE_IV: Buffer = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
/**
 * FSP_SPACE_FLAGS of 16 KiB pages: full_crc32, without and with zlib, and with LZ4, whose pages are here compressed with
 * zlib all the same; older checksums; ROW_FORMAT=COMPRESSED of 8 KiB.
 */
export const FLAGS = { full_crc32: 0x15, paged: 0x35, lz4: 0x55, older: 0x21, oldpaged: 0x10021, zip: 0x29 } as const;
export type SpaceKind = keyof typeof FLAGS;

const LSN = 0x1_2345_6789n;
const [INDEX, PAGE_COMPRESSED_ENCRYPTED] = [17_855, 37_401];
const DESCRIPTORS = 150;

export function layoutOf(kind: SpaceKind): SpaceLayout {
  const head = Buffer.alloc(58);
  head.writeUInt32BE(SPACE_ID, 34);
  head.writeUInt32BE(FLAGS[kind], 54);
  const layout = parseLayout(head);
  if (layout === undefined) throw new Error('these flags are no layout');
  return layout;
}

/** Page 0, with a crypt block. @param free pages that are free @param pages of the tablespace, as page 0 counts them */
export function firstPage(kind: SpaceKind, free: readonly number[] = [], pages = 0): Buffer {
  const layout = layoutOf(kind);
  const page = Buffer.alloc(layout.fileBytes);
  page.writeBigUInt64BE(LSN, 16);
  page.writeUInt16BE(8, 24);
  page.writeUInt32BE(SPACE_ID, 34);
  page.writeUInt32BE(SPACE_ID, 38);
  page.writeUInt32BE(pages, 46);
  page.writeUInt32BE(FLAGS[kind], 54);
  for (const number of free) {
    const inExtent = number % layout.pagesOfExtent;
    const at = DESCRIPTORS + Math.floor(number / layout.pagesOfExtent) * descriptorBytes(layout.pagesOfExtent) + 24;
    page[at + (inExtent >> 2)] = (page[at + (inExtent >> 2)] ?? 0) | (1 << ((inExtent & 3) * 2));
  }
  const at = cryptBlockAt(layout);
  Buffer.from([0x73, 0x0e, 0x0c, 0x52, 0x45, 0x74, 1, 16]).copy(page, at);
  SPACE_IV.copy(page, at + 8);
  page.writeUInt32BE(1, at + 24);
  page.writeUInt32BE(KEY_ID, at + 28);
  page[at + 32] = 1;
  writeEnd(layout.form, page);
  sealPage(layout, page);
  return page;
}

/** An index page in clear, whose content depends on its number. */
export function clearPage(kind: SpaceKind, number: number): Buffer {
  const layout = layoutOf(kind);
  const page = Buffer.alloc(layout.fileBytes);
  for (let at = 38; at < page.length - 8; at += 1) page[at] = (at * 31 + number * 7) & 255;
  page.writeUInt32BE(number, 4);
  page.writeBigUInt64BE(LSN + BigInt(number), 16);
  page.writeUInt16BE(INDEX, 24);
  page.writeUInt32BE(SPACE_ID, 34);
  writeEnd(layout.form, page);
  sealPage(layout, page);
  return page;
}

/** The page as a server writes it under a key. */
export function encryptedPage(kind: SpaceKind, number: number, version: number, key: DataKey): Buffer {
  const layout = layoutOf(kind);
  const clear = clearPage(kind, number);
  if (layout.isPageCompressed) return compressedPage(layout, clear, version, key);
  const page = Buffer.from(clear);
  if (layout.form === 'full_crc32') {
    page.writeUInt32BE(version, 0);
    encryptRange(page, key, 26, page.length - 4);
    page.writeUInt32BE(crc32c(page.subarray(0, page.length - 4)), page.length - 4);
    return page;
  }
  page.writeUInt32BE(version, 26);
  encryptRange(page, key, 38, page.length - 8);
  page.writeUInt32BE(coveredChecksum(layout.form, page), 30);
  return page;
}

function compressedPage(layout: SpaceLayout, clear: Buffer, version: number, key: DataKey): Buffer {
  const stream = deflateSync(clear);
  const page = Buffer.alloc(clear.length);
  clear.copy(page, 0, 0, 38);
  if (layout.form === 'full_crc32') {
    page.fill(0, 26, 38);
    const bytes = Math.ceil((26 + stream.length + 4) / 256) * 256;
    page.writeUInt16BE(0x8000 | (bytes >> 8), 24);
    stream.copy(page, 26);
    page.writeUInt32BE(version, 0);
    encryptRange(page, key, 26, bytes - 4);
    page.writeUInt32BE(crc32c(page.subarray(0, bytes - 4)), bytes - 4);
    return page;
  }
  page.writeUInt16BE(PAGE_COMPRESSED_ENCRYPTED, 24);
  page.writeUInt32BE(version, 26);
  page.writeUInt16BE(stream.length, 38);
  page.writeUInt16BE(1, 40);
  stream.copy(page, 42);
  encryptRange(page, key, 42, 42 + stream.length);
  return page;
}

function writeEnd(form: PageForm, page: Buffer): void {
  const lsn = page.readUInt32BE(20);
  if (form !== 'zip') page.writeUInt32BE(lsn, page.length - (form === 'full_crc32' ? 8 : 4));
}

/** MariaDB's scheme 1 (sql/encryption.cc). */
function encryptRange(page: Buffer, { bytes, algorithm }: DataKey, from: number, to: number): void {
  const ecb = (key: Uint8Array) => createCipheriv(`aes-${key.length * 8}-ecb`, key, null).setAutoPadding(false);
  const localKey = ecb(bytes).update(SPACE_IV);
  const iv = pageIv(SPACE_ID, page);
  if (algorithm === 'AES_CTR') {
    createCipheriv('aes-128-ctr', localKey, iv).update(page.subarray(from, to)).copy(page, from);
    return;
  }
  const blocks = to - ((to - from) % 16);
  const cbc = createCipheriv('aes-128-cbc', localKey, iv).setAutoPadding(false);
  cbc.update(page.subarray(from, blocks)).copy(page, from);
  const mask = ecb(localKey).update(iv);
  for (let at = blocks; at < to; at += 1) page[at] = (page[at] ?? 0) ^ (mask[at - blocks] ?? 0);
}
