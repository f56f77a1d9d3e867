import { createHmac } from 'node:crypto';
import { KeyError } from './errors.ts';

/** Overwrites key bytes that we own. What V8 or the kernel copied meanwhile is out of reach; SECURITY.md says so. */
export function wipe(bytes: Uint8Array): void {
  bytes.fill(0);
}

/**
 * Postcondition of every unwrap: a data key is exactly 16, 24 or 32 bytes.
 * @throws KeyError KMS_BAD_ANSWER, with the length and never the value
 */
export function assertDataKeyLength(title: string, bytes: Uint8Array): void {
  if (bytes.length !== 16 && bytes.length !== 24 && bytes.length !== 32) {
    throw new KeyError('KMS_BAD_ANSWER', `${title}: "data key" expected 16, 24 or 32 bytes, got ${bytes.length}`, {
      hint: 'the wrapped key was not made by GenerateDataKeyWithoutPlaintext with KeySpec AES_128 or AES_256; restore the key file from a backup',
    });
  }
}

/**
 * Sixteen hex digits that tell whether two data keys are the same, and nothing else about them: HMAC-SHA-256 of a fixed
 * text under the data key, cut to 64 bits.
 */
export function keyCheckValue(dataKey: Uint8Array): string {
  return createHmac('sha256', dataKey).update('mariadb-aws-kms key check value 1').digest('hex').slice(0, 16);
}
