/**
 * Small tablespaces made from the specification, in every form: what a server of today does not write (older page sizes
 * and checksums), and seeds for the fuzzer. Encrypts as MariaDB's fil0crypt.cc and encryption.cc do.
 */
import { createCipheriv } from 'node:crypto';
import { crc32c } from '../src/format/crc32c.ts';
import type { DataKey } from '../src/format/encryption-scheme.ts';
import { cryptBlockAt, descriptorsEnd, parseLayout, type SpaceLayout } from '../src/format/innodb/layout.ts';
import { sealPage, writtenBytes } from '../src/format/innodb/page-checksum.ts';
import { FIELD, FULL_CRC32_START, OLDER_END, OLDER_START, PAGE_TYPE } from '../src/format/innodb/page-fields.ts';

export interface MadeKey extends DataKey {
  readonly id: number;
  readonly versions: readonly number[];
}

export interface MadeForm {
  readonly name: string;
  readonly flags: number;
}

/** Flags of the first page, as fsp0fsp.h has them. */
export const MADE_FORMS: readonly MadeForm[] = [
  { name: 'full_crc32, 4K', flags: 0x13 },
  { name: 'full_crc32, 4K, page-compressed', flags: 0x33 },
  { name: 'older, 4K', flags: 3 << 6 },
  { name: 'older, 4K, page-compressed', flags: (3 << 6) | (1 << 16) },
  { name: 'ROW_FORMAT=COMPRESSED, 8K', flags: 0x29 },
  { name: 'ROW_FORMAT=COMPRESSED, 1K', flags: 0x23 },
];

export const MADE_SPACE = 42;
export const MADE_IV: Buffer = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
/** The pages of a made tablespace: of index pages, of each key version, in clear, free, and one that was never written. */
export const MADE_PAGES = 9;
const [FREE_PAGE, CLEAR_PAGE] = [6, 5];
const [INDEX_PAGES, NEVER_WRITTEN] = [3, 8];
const DESCRIPTORS = 150;
const DESCRIPTOR_HEAD = 24;
const FIRST_INFIMUM = 99;
/** Page compression of the older form: the payload of an encrypted page, and of each page its length. */
const [PAYLOAD, COMPRESSED_BYTES] = [42, 500];
const COMPRESSED_UNITS = 3;

/** @param key undefined: the tablespace is in clear, and has no crypt block */
export function madeTablespace({ flags }: MadeForm, key: MadeKey | undefined): Buffer {
  const first = Buffer.alloc(FIELD.spaceId + 24);
  first.writeUInt32BE(MADE_SPACE, FIELD.spaceId);
  first.writeUInt32BE(flags, 54);
  const layout = parseLayout(first);
  if (layout === undefined) throw new Error('flags of no tablespace');
  const pages = Array.from({ length: MADE_PAGES }, (_, number) => clearPage(layout, number, flags, key));
  return Buffer.concat(pages.map((page, number) => finished(layout, page, versionOf(number, key), key)));
}

function versionOf(number: number, key: MadeKey | undefined): number {
  if (key === undefined || number < INDEX_PAGES || number === CLEAR_PAGE || number === NEVER_WRITTEN) return 0;
  return key.versions[number % key.versions.length] ?? 0;
}

function clearPage(layout: SpaceLayout, number: number, flags: number, key: MadeKey | undefined): Buffer {
  const page = Buffer.alloc(layout.fileBytes);
  if (number === NEVER_WRITTEN) return page;
  page.writeUInt32BE(number, FIELD.number);
  page.writeBigUInt64BE(0x1_0000_2000n + BigInt(number), FIELD.lsn);
  page.writeUInt16BE([8, 5, 3][number] ?? PAGE_TYPE.index, FIELD.type);
  page.writeUInt32BE(MADE_SPACE, FIELD.spaceId);
  if (number === 0) {
    page.writeUInt32BE(MADE_SPACE, 38);
    page.writeUInt32BE(flags, 54);
    // The states of the first extent's pages, two bits each, of which the lower one is that of a free page.
    page.writeUInt32BE(4, DESCRIPTORS + 20);
    page.fill(0xff, DESCRIPTORS + DESCRIPTOR_HEAD, descriptorsEnd(layout));
    for (const used of [0, 1, 2, 3, 4, 5, 7])
      page[174 + (used >> 2)] = (page[174 + (used >> 2)] ?? 0) & ~(1 << ((used & 3) * 2));
    if (key !== undefined) writeCryptBlock(page, cryptBlockAt(layout), key);
  } else if (number >= INDEX_PAGES) {
    page.write('infimum\0', FIRST_INFIMUM);
    page.write('\x08supremum', FIRST_INFIMUM + 13);
    page.fill(`page ${number} is ${number === FREE_PAGE ? 'free' : 'used'}. `, 200, Math.min(600, page.length - 32));
  }
  return page;
}

function writeCryptBlock(page: Buffer, at: number, { id, versions }: MadeKey): void {
  Buffer.from([0x73, 0x0e, 0x0c, 0x52, 0x45, 0x74, 1, 16]).copy(page, at);
  MADE_IV.copy(page, at + 8);
  page.writeUInt32BE(Math.min(...versions), at + 24);
  page.writeUInt32BE(id, at + 28);
}

/** Compresses in name only: what would be the compressed bytes is any. */
function finished(layout: SpaceLayout, page: Buffer, version: number, key: MadeKey | undefined): Buffer {
  const number = page.readUInt32BE(FIELD.number);
  if (page.readUInt16BE(FIELD.type) === 0) return page;
  const lsn = page.readUInt32BE(FIELD.lsn + 4);
  if (layout.form === 'full_crc32') {
    if (layout.isPageCompressed && number >= INDEX_PAGES) {
      page.writeUInt16BE(0x8000 | COMPRESSED_UNITS, FIELD.type);
      page.fill(0, COMPRESSED_UNITS * 256);
    } else page.writeUInt32BE(lsn, page.length - 8);
    if (version !== 0 && key !== undefined) {
      page.writeUInt32BE(version, FIELD.version);
      encrypt(page, FULL_CRC32_START, writtenBytes(layout, page) - 4, key);
    }
    sealPage(layout, page);
    return page;
  }
  if (layout.form === 'older') page.writeUInt32BE(lsn, page.length - 4);
  if (layout.isPageCompressed && number >= INDEX_PAGES) compressOlder(page, version, key);
  else {
    sealPage(layout, page);
    if (version !== 0 && key !== undefined) {
      page.writeUInt32BE(version, FIELD.olderVersion);
      encrypt(page, OLDER_START, page.length - OLDER_END, key);
      page.writeUInt32BE(encryptedChecksum(layout, page), FIELD.olderChecksum);
    }
  }
  return page;
}

function compressOlder(page: Buffer, version: number, key: MadeKey | undefined): void {
  const payload = Buffer.from(page.subarray(PAYLOAD, PAYLOAD + COMPRESSED_BYTES));
  page.fill(0, OLDER_START);
  page.writeUInt16BE(COMPRESSED_BYTES, OLDER_START);
  if (version === 0 || key === undefined) {
    page.writeUInt16BE(PAGE_TYPE.pageCompressed, FIELD.type);
    page.writeUInt32BE(1, FIELD.olderChecksum);
    payload.copy(page, PAYLOAD - 2);
  } else {
    page.writeUInt16BE(PAGE_TYPE.pageCompressedEncrypted, FIELD.type);
    page.writeUInt32BE(version, FIELD.olderVersion);
    page.writeUInt16BE(1, PAYLOAD - 2);
    payload.copy(page, PAYLOAD);
    encrypt(page, PAYLOAD, PAYLOAD + COMPRESSED_BYTES, key);
  }
}

function encryptedChecksum({ form }: SpaceLayout, page: Buffer): number {
  const part = (from: number, to: number): number => crc32c(page.subarray(from, to));
  if (form === 'zip') return (part(4, 16) ^ part(24, 26) ^ part(34, page.length)) >>> 0;
  return (part(4, 26) ^ part(OLDER_START, page.length - OLDER_END)) >>> 0;
}

function encrypt(page: Buffer, from: number, to: number, { bytes, algorithm }: MadeKey): void {
  const ecb = (key: Uint8Array, block: Uint8Array): Buffer =>
    createCipheriv(`aes-${key.length * 8}-ecb`, key, null)
      .setAutoPadding(false)
      .update(block);
  const localKey = ecb(bytes, MADE_IV);
  const iv = Buffer.alloc(16);
  iv.writeUInt32LE(page.readUInt32BE(FIELD.spaceId), 0);
  iv.writeUInt32LE(page.readUInt32BE(FIELD.number), 4);
  iv.writeBigUInt64LE(page.readBigUInt64BE(FIELD.lsn), 8);
  const isStream = algorithm === 'AES_CTR';
  const blocks = isStream ? to : to - ((to - from) % 16);
  const cipher = createCipheriv(isStream ? 'aes-128-ctr' : 'aes-128-cbc', localKey, iv).setAutoPadding(false);
  cipher.update(page.subarray(from, blocks)).copy(page, from);
  const mask = ecb(localKey, iv);
  for (let at = blocks; at < to; at += 1) page[at] = (page[at] ?? 0) ^ (mask[at - blocks] ?? 0);
}
