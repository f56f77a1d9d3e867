/** Decrypts the pages of one tablespace and key version (MariaDB's fil0crypt.cc and encryption.cc). */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { wipe } from '../../bytes.ts';
import { crc32c } from '../crc32c.ts';
import { CIPHER_BLOCK, type DataKey } from '../encryption-scheme.ts';
import type { SpaceLayout } from './layout.ts';

const [KEY_VERSION, NUMBER, LSN, TYPE, OLDER_KEY_VERSION, SPACE_ID] = [0, 4, 16, 24, 26, 34];
/** The range of a page that is encrypted. */
const [FULL_CRC32_START, OLDER_START] = [26, 38];
const [FULL_CRC32_SUFFIX, OLDER_SUFFIX] = [4, 8];
const CHECKSUM_BYTES = 4;
const COMPRESSED = 0x8000;
const COMPRESSED_ENCRYPTED = 37_401;
const PAGE_COMPRESSED = 34_354;
const [PAYLOAD_LENGTH, ALGORITHM, PAYLOAD] = [38, 40, 42];

/** The problem of a page that is not what its key should make of it. */
export type PageProblem = 'checksum' | 'not this key' | 'length';

export class PageCipher {
  readonly #layout: SpaceLayout;
  readonly #mode: 'aes-128-ctr' | 'aes-128-cbc';
  readonly #localKey: Buffer;

  /** @param iv the tablespace's, of its crypt block */
  constructor(layout: SpaceLayout, iv: Buffer, { bytes, algorithm }: DataKey) {
    this.#layout = layout;
    this.#mode = algorithm === 'AES_CTR' ? 'aes-128-ctr' : 'aes-128-cbc';
    this.#localKey = createCipheriv(`aes-${bytes.length * 8}-ecb`, bytes, null)
      .setAutoPadding(false)
      .update(iv);
  }

  wipe(): void {
    wipe(this.#localKey);
  }

  /**
   * Decrypts a page in place, and makes it a page in clear with a right checksum.
   * @param space the tablespace whose number the page was encrypted with: its own, or that of a copy
   * @returns why the page is not decrypted; it is then undefined what its bytes are
   */
  decrypt(page: Buffer, space: number): PageProblem | undefined {
    return this.#layout.form === 'full_crc32' ? this.#fullCrc32(page, space) : this.#older(page, space);
  }

  #fullCrc32(page: Buffer, space: number): PageProblem | undefined {
    const type = page.readUInt16BE(TYPE);
    const end = (type & COMPRESSED) === 0 ? page.length : (type & ~COMPRESSED) << 8;
    if (end > page.length || end < FULL_CRC32_START + CIPHER_BLOCK) return 'length';
    const checksumAt = end - CHECKSUM_BYTES;
    if (crc32c(page.subarray(0, checksumAt)) !== page.readUInt32BE(checksumAt)) return 'checksum';
    this.#range(page, space, FULL_CRC32_START, end - FULL_CRC32_SUFFIX);
    page.writeUInt32BE(0, KEY_VERSION);
    page.writeUInt32BE(crc32c(page.subarray(0, checksumAt)), checksumAt);
    if ((type & COMPRESSED) !== 0) return undefined;
    const isThis = page.readUInt32BE(SPACE_ID) === space && page.readUInt32BE(end - 8) === page.readUInt32BE(LSN + 4);
    return isThis ? undefined : 'not this key';
  }

  #older(page: Buffer, space: number): PageProblem | undefined {
    if (page.readUInt16BE(TYPE) === COMPRESSED_ENCRYPTED) {
      const end = PAYLOAD + page.readUInt16BE(PAYLOAD_LENGTH);
      if (end > page.length) return 'length';
      this.#range(page, space, PAYLOAD, end);
      // A page in clear has the algorithm in the place of the key version, and its payload in that of the algorithm.
      const algorithm = page.readUInt16BE(ALGORITHM);
      page.copy(page, ALGORITHM, PAYLOAD, end);
      page.writeUInt16BE(PAGE_COMPRESSED, TYPE);
      page.writeUInt32BE(0, OLDER_KEY_VERSION);
      page.writeUInt32BE(algorithm, OLDER_KEY_VERSION + 4);
      return undefined;
    }
    if (olderChecksum(this.#layout, page) !== page.readUInt32BE(OLDER_KEY_VERSION + 4)) return 'checksum';
    this.#range(page, space, OLDER_START, page.length - OLDER_SUFFIX);
    page.writeUInt32BE(0, OLDER_KEY_VERSION);
    page.writeUInt32BE(0, OLDER_KEY_VERSION + 4);
    return undefined;
  }

  #range(page: Buffer, space: number, from: number, to: number): void {
    const iv = Buffer.alloc(CIPHER_BLOCK);
    iv.writeUInt32LE(space, 0);
    iv.writeUInt32LE(page.readUInt32BE(NUMBER), 4);
    // InnoDB's own bytes are big-endian, and the block's are little-endian.
    iv.writeUInt32LE(page.readUInt32BE(LSN + 4), 8);
    iv.writeUInt32LE(page.readUInt32BE(LSN), 12);
    const decipher = createDecipheriv(this.#mode, this.#localKey, iv).setAutoPadding(false);
    const blocks = this.#mode === 'aes-128-ctr' ? to : to - ((to - from) % CIPHER_BLOCK);
    const clear = decipher.update(page.subarray(from, blocks));
    clear.copy(page, from);
    wipe(clear);
    if (blocks < to) this.#tail(page, blocks, to, iv);
  }

  /** Bytes that fill no block are XORed with the encrypted initialization vector. */
  #tail(page: Buffer, from: number, to: number, iv: Buffer): void {
    const mask = createCipheriv('aes-128-ecb', this.#localKey, null).setAutoPadding(false).update(iv);
    for (let at = from; at < to; at += 1) page[at] = (page[at] ?? 0) ^ (mask[at - from] ?? 0);
    wipe(mask);
  }
}

/** The checksum of an encrypted page of the older formats. */
function olderChecksum({ form }: SpaceLayout, page: Buffer): number {
  const part = (from: number, to: number): number => crc32c(page.subarray(from, to));
  if (form === 'zip') return (part(4, 16) ^ part(24, 26) ^ part(34, page.length)) >>> 0;
  return (part(4, 26) ^ part(38, page.length - 8)) >>> 0;
}
