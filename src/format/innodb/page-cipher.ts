/** Decrypts the pages of one tablespace and key version (MariaDB's fil0crypt.cc and encryption.cc). */
import { type Cipheriv, createCipheriv, createDecipheriv, type Decipheriv } from 'node:crypto';
import { wipe } from '../../bytes.ts';
import { crc32c } from '../crc32c.ts';
import { CIPHER_BLOCK, type DataKey } from '../encryption-scheme.ts';
import type { SpaceLayout } from './layout.ts';
import { coveredChecksum, writtenBytes } from './page-checksum.ts';
import {
  COMPRESSED_BIT,
  FIELD,
  FULL_CRC32_END,
  FULL_CRC32_START,
  OLDER_END,
  OLDER_START,
  PAGE_TYPE,
} from './page-fields.ts';

const [PAYLOAD_LENGTH, ALGORITHM, PAYLOAD] = [38, 40, 42];

/** The problem of a page that is not what its key should make of it. */
export type PageProblem = 'checksum' | 'not this key' | 'length';

export class PageCipher {
  readonly #layout: SpaceLayout;
  readonly #localKey: Buffer;
  /** Undefined: CTR. */
  readonly #cbc: Decipheriv | undefined;
  readonly #ecb: Cipheriv;

  /** @param iv the tablespace's, of its crypt block */
  constructor(layout: SpaceLayout, iv: Uint8Array, { bytes, algorithm }: DataKey) {
    this.#layout = layout;
    this.#localKey = createCipheriv(`aes-${bytes.length * 8}-ecb`, bytes, null)
      .setAutoPadding(false)
      .update(iv);
    this.#cbc =
      algorithm === 'AES_CBC'
        ? createDecipheriv('aes-128-cbc', this.#localKey, Buffer.alloc(CIPHER_BLOCK)).setAutoPadding(false)
        : undefined;
    this.#ecb = createCipheriv('aes-128-ecb', this.#localKey, null).setAutoPadding(false);
  }

  wipe(): void {
    wipe(this.#localKey);
  }

  /**
   * Decrypts a page in place, and makes it a page in clear with a right checksum.
   * @param space the tablespace whose number the page was encrypted with: its own, or that of a copy
   * @param isSealed false: nobody needs the page's checksum in clear, which costs a third of the time
   * @returns why the page is not decrypted; it is then undefined what its bytes are
   */
  decrypt(page: Buffer, space: number, isSealed = true): PageProblem | undefined {
    return this.#layout.form === 'full_crc32' ? this.#fullCrc32(page, space, isSealed) : this.#older(page, space);
  }

  #fullCrc32(page: Buffer, space: number, isSealed: boolean): PageProblem | undefined {
    const end = writtenBytes(this.#layout, page);
    if (end > page.length || end < FULL_CRC32_START + CIPHER_BLOCK) return 'length';
    const checksumAt = end - FULL_CRC32_END;
    if (crc32c(page.subarray(0, checksumAt)) !== page.readUInt32BE(checksumAt)) return 'checksum';
    this.#range(page, space, FULL_CRC32_START, checksumAt);
    page.writeUInt32BE(0, FIELD.version);
    if (isSealed) page.writeUInt32BE(crc32c(page.subarray(0, checksumAt)), checksumAt);
    if ((page.readUInt16BE(FIELD.type) & COMPRESSED_BIT) !== 0) return undefined;
    const isThis =
      page.readUInt32BE(FIELD.spaceId) === space && page.readUInt32BE(end - 8) === page.readUInt32BE(FIELD.lsn + 4);
    return isThis ? undefined : 'not this key';
  }

  #older(page: Buffer, space: number): PageProblem | undefined {
    if (page.readUInt16BE(FIELD.type) === PAGE_TYPE.pageCompressedEncrypted) {
      const end = PAYLOAD + page.readUInt16BE(PAYLOAD_LENGTH);
      if (end > page.length) return 'length';
      this.#range(page, space, PAYLOAD, end);
      // A page in clear has the algorithm in the place of the key version, and its payload in that of the algorithm.
      const algorithm = page.readUInt16BE(ALGORITHM);
      page.copy(page, ALGORITHM, PAYLOAD, end);
      page.fill(0, end - 2, end);
      page.writeUInt16BE(PAGE_TYPE.pageCompressed, FIELD.type);
      page.writeUInt32BE(0, FIELD.olderVersion);
      page.writeUInt32BE(algorithm, FIELD.olderChecksum);
      return undefined;
    }
    if (coveredChecksum(this.#layout.form, page) !== page.readUInt32BE(FIELD.olderChecksum)) return 'checksum';
    this.#range(page, space, OLDER_START, page.length - OLDER_END);
    page.writeUInt32BE(0, FIELD.olderVersion);
    page.writeUInt32BE(0, FIELD.olderChecksum);
    return undefined;
  }

  #range(page: Buffer, space: number, from: number, to: number): void {
    const iv = pageIv(space, page);
    const blocks = this.#cbc === undefined ? to : to - ((to - from) % CIPHER_BLOCK);
    const clear =
      this.#cbc === undefined
        ? createDecipheriv('aes-128-ctr', this.#localKey, iv).update(page.subarray(from, to))
        : this.#chained(this.#cbc, page, iv, from, blocks);
    page.set(clear, from);
    wipe(clear);
    if (blocks < to) this.#tail(page, blocks, to, iv);
  }

  /**
   * CBC adds to each block the encrypted one before it. So one decipher does for all pages: a page's initialization
   * vector goes through it first, in the place of the bytes before the range.
   */
  #chained(cbc: Decipheriv, page: Buffer, iv: Buffer, from: number, to: number): Buffer {
    const begin = from - CIPHER_BLOCK;
    const before = Buffer.from(page.subarray(begin, from));
    page.set(iv, begin);
    const clear = cbc.update(page.subarray(begin, to)).subarray(CIPHER_BLOCK);
    page.set(before, begin);
    return clear;
  }

  /** Bytes that fill no block are XORed with the encrypted initialization vector. */
  #tail(page: Buffer, from: number, to: number, iv: Buffer): void {
    const mask = this.#ecb.update(iv);
    for (let at = from; at < to; at += 1) page[at] = (page[at] ?? 0) ^ (mask[at - from] ?? 0);
    wipe(mask);
  }
}

/** Returns the initialization vector of a page: InnoDB's own bytes are big-endian, and these are little-endian. */
export function pageIv(space: number, page: Buffer): Buffer {
  const iv = Buffer.alloc(CIPHER_BLOCK);
  iv.writeUInt32LE(space, 0);
  iv.writeUInt32LE(page.readUInt32BE(FIELD.number), 4);
  iv.writeUInt32LE(page.readUInt32BE(FIELD.lsn + 4), 8);
  iv.writeUInt32LE(page.readUInt32BE(FIELD.lsn), 12);
  return iv;
}
