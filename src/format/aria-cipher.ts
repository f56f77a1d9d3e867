/** Decrypts the pages of an Aria table (MariaDB's ma_crypt.c, ma_pagecrc.c and encryption.cc). */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { wipe } from '../bytes.ts';
import type { AriaLayout } from './aria-layout.ts';
import { CIPHER_BLOCK, type DataKey } from './encryption-scheme.ts';

export const ARIA_CHECKSUM_BYTES = 4;
const LSN_BYTES = 7;
export const ARIA_PAGE_TYPE = 7;
const TYPE_MASK = 7;
export const [ARIA_FREE, ARIA_HEAD, ARIA_TAIL, ARIA_BLOB] = [0, 1, 2, 3];
/** Bytes of a key version, which pages of a table in clear do not have. */
export const ARIA_VERSION_BYTES = 4;
/** Headers of data pages in clear. */
export const [ARIA_ROW_PAGE_HEADER, ARIA_BLOB_PAGE_HEADER] = [12, 8];
/** An index page's header after LSN, transaction id and key version: number of the index, flags, used bytes. */
const INDEX_HEADER_END = 4;
const TRANSACTION_BYTES = 6;
/** Checksums that stand for none. */
const NO_CHECKSUM = 0xffff_fffe;

export function ariaPageType(page: Buffer): number {
  return (page[ARIA_PAGE_TYPE] ?? 0) & TYPE_MASK;
}

/** The checksum of the beginning of a page. */
export function ariaChecksum(page: Buffer, number: number, bytes: number): number {
  return Math.min(crc32(page.subarray(0, bytes), number), NO_CHECKSUM - 1);
}

/** Gives a data page the checksum of its bytes. */
export function sealAriaPage(page: Buffer, number: number): void {
  const end = page.length - ARIA_CHECKSUM_BYTES;
  page.writeUInt32LE(ariaChecksum(page, number, end), end);
}

/** True: the page has a right checksum, or one that stands for none. */
export function isWholeAriaPage(page: Buffer, number: number, bytes = page.length - ARIA_CHECKSUM_BYTES): boolean {
  const stored = page.readUInt32LE(page.length - ARIA_CHECKSUM_BYTES);
  return stored >= NO_CHECKSUM || stored === ariaChecksum(page, number, bytes);
}

/** Returns the offset of a data page's key version. */
export function ariaVersionAt(page: Buffer): number {
  return ariaPageType(page) === ARIA_BLOB ? ARIA_BLOB_PAGE_HEADER : ARIA_ROW_PAGE_HEADER;
}

/** The parts of an index page's header. */
export function ariaIndexHeader({ isTransactional }: AriaLayout): {
  /** Offset of the key version. */
  readonly versionAt: number;
  /** Offset of the number of used bytes, which are those of the header and the keys. */
  readonly usedAt: number;
  readonly end: number;
  /** Bytes of the header that a page in clear does not have, from `removedAt` on. */
  readonly removed: number;
  readonly removedAt: number;
} {
  const versionAt = LSN_BYTES + (isTransactional ? TRANSACTION_BYTES : 0);
  const end = versionAt + ARIA_VERSION_BYTES + INDEX_HEADER_END;
  // A table without transactions has its LSN only to make the initialization vector from.
  const removed = ARIA_VERSION_BYTES + (isTransactional ? 0 : LSN_BYTES);
  return { versionAt, usedAt: end - 2, end, removed, removedAt: isTransactional ? versionAt : 0 };
}

export class AriaCipher {
  readonly #layout: AriaLayout;
  readonly #space: number;
  readonly #localKey: Buffer;
  readonly #mode: 'aes-128-ctr' | 'aes-128-cbc';

  constructor(layout: AriaLayout, { space, iv }: NonNullable<AriaLayout['crypt']>, { bytes, algorithm }: DataKey) {
    this.#layout = layout;
    this.#space = space;
    this.#mode = algorithm === 'AES_CTR' ? 'aes-128-ctr' : 'aes-128-cbc';
    this.#localKey = createCipheriv(`aes-${bytes.length * 8}-ecb`, bytes, null)
      .setAutoPadding(false)
      .update(iv);
  }

  wipe(): void {
    wipe(this.#localKey);
  }

  /**
   * Decrypts a data page in place; its key version becomes 0.
   * @returns false: the checksum of the result is wrong
   */
  decryptData(page: Buffer, number: number): boolean {
    const versionAt = ariaVersionAt(page);
    this.#decrypt(page, number, versionAt + ARIA_VERSION_BYTES, page.length - ARIA_CHECKSUM_BYTES);
    page.writeUInt32LE(0, versionAt);
    return isWholeAriaPage(page, number);
  }

  /** As `decryptData`, for an index page. */
  decryptIndex(page: Buffer, number: number): boolean {
    const { versionAt, usedAt, end } = ariaIndexHeader(this.#layout);
    const used = page.readUInt16BE(usedAt);
    if (used < end || used > page.length - ARIA_CHECKSUM_BYTES) return false;
    this.#decrypt(page, number, end, used);
    page.writeUInt32LE(0, versionAt);
    return isWholeAriaPage(page, number, used);
  }

  #decrypt(page: Buffer, number: number, from: number, to: number): void {
    const iv = Buffer.alloc(CIPHER_BLOCK);
    iv.writeUInt32LE(this.#space, 0);
    iv.writeUInt32LE(number % 2 ** 32, 4);
    // The LSN is a file's number of three bytes and an offset of four.
    iv.writeUInt32LE(page.readUInt32LE(3), 8);
    iv.writeUIntLE(page.readUIntLE(0, 3), 12, 3);
    const blocks = this.#mode === 'aes-128-ctr' ? to : to - ((to - from) % CIPHER_BLOCK);
    const clear = createDecipheriv(this.#mode, this.#localKey, iv)
      .setAutoPadding(false)
      .update(page.subarray(from, blocks));
    clear.copy(page, from);
    wipe(clear);
    if (blocks === to) return;
    // Bytes that fill no block are XORed with the encrypted initialization vector.
    const mask = createCipheriv('aes-128-ecb', this.#localKey, null).setAutoPadding(false).update(iv);
    for (let at = blocks; at < to; at += 1) page[at] = (page[at] ?? 0) ^ (mask[at - blocks] ?? 0);
    wipe(mask);
  }
}

/** Turns a decrypted index page into one of a table in clear, whose header is shorter. */
export function clearAriaIndexPage(layout: AriaLayout, page: Buffer, number: number): void {
  const { usedAt, removed, removedAt } = ariaIndexHeader(layout);
  const used = page.readUInt16BE(usedAt) - removed;
  page.copyWithin(removedAt, removedAt + removed, used + removed);
  page.fill(0, used, page.length);
  page.writeUInt16BE(used, usedAt - removed);
  page.writeUInt32LE(ariaChecksum(page, number, used), page.length - ARIA_CHECKSUM_BYTES);
}
