/**
 * InnoDB's files as MariaDB encrypts them with AES-CBC: pages of 16 KiB in the format full_crc32 (its fil0fil.h, fsp0fsp.h
 * and fil0crypt.cc).
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';

const PAGE = 16_384;
const [KEY_VERSION, NUMBER, LSN, ENCRYPTED, SPACE] = [0, 4, 16, 26, 34];
const [CRYPT_BLOCK, IV_IN_BLOCK] = [10_428, 8];
const CIPHER_BLOCK = 16;

export interface EncryptedPage {
  readonly number: number;
  readonly keyVersion: number;
}

export function encryptedPages(tablespace: Buffer): EncryptedPage[] {
  const pages: EncryptedPage[] = [];
  for (let number = 0; (number + 1) * PAGE <= tablespace.length; number += 1) {
    const keyVersion = tablespace.readUInt32BE(number * PAGE + KEY_VERSION);
    if (keyVersion !== 0) pages.push({ number, keyVersion });
  }
  return pages;
}

/** Whether the page was encrypted with this data key: it then says in clear which tablespace it belongs to. */
export function isEncryptedWith(key: Uint8Array, tablespace: Buffer, page: number): boolean {
  const iv = tablespace.subarray(CRYPT_BLOCK + IV_IN_BLOCK).subarray(0, CIPHER_BLOCK);
  const tablespaceKey = createCipheriv(`aes-${key.length * 8}-ecb`, key, null)
    .setAutoPadding(false)
    .update(iv);
  const [spaceId, bytes] = [tablespace.readUInt32BE(SPACE), tablespace.subarray(page * PAGE)];
  const pageIv = Buffer.alloc(CIPHER_BLOCK);
  pageIv.writeUInt32LE(spaceId, 0);
  pageIv.writeUInt32LE(bytes.readUInt32BE(NUMBER), 4);
  pageIv.writeBigUInt64LE(bytes.readBigUInt64BE(LSN), 8);
  const clear = createDecipheriv('aes-128-cbc', tablespaceKey, pageIv)
    .setAutoPadding(false)
    .update(bytes.subarray(ENCRYPTED, ENCRYPTED + CIPHER_BLOCK));
  return clear.readUInt32BE(SPACE - ENCRYPTED) === spaceId;
}
