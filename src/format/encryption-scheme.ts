/** MariaDB's encryption scheme 1 (its sql/encryption.cc): each tablespace derives a 16-byte key from the data key. */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { wipe } from '../bytes.ts';
import type { EncryptionAlgorithm } from './encryption-algorithm.ts';

export const CIPHER_BLOCK = 16;

export interface DataKey {
  readonly bytes: Uint8Array;
  readonly algorithm: EncryptionAlgorithm;
}

/** Decrypts whole blocks from the beginning of encrypted data. The caller owns the result. */
export function decryptBlocks(
  { bytes, algorithm }: DataKey,
  tablespaceIv: Uint8Array,
  iv: Uint8Array,
  blocks: Uint8Array,
): Buffer {
  const cipher = createCipheriv(`aes-${bytes.length * 8}-ecb`, bytes, null).setAutoPadding(false);
  const localKey = cipher.update(tablespaceIv);
  try {
    const mode = algorithm === 'AES_CTR' ? 'aes-128-ctr' : 'aes-128-cbc';
    return createDecipheriv(mode, localKey, iv).setAutoPadding(false).update(blocks);
  } finally {
    wipe(localKey);
  }
}
