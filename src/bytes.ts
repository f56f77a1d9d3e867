import { createHmac } from 'node:crypto';

/** Overwrites key bytes that we own. What V8 or the kernel copied meanwhile is out of reach; SECURITY.md says so. */
export function wipe(bytes: Uint8Array): void {
  bytes.fill(0);
}

/** What a data key may have. */
export function isDataKeyLength(bytes: number): boolean {
  return bytes === 16 || bytes === 24 || bytes === 32;
}

/**
 * Sixteen hex digits that tell whether two data keys are the same, and nothing else about them: HMAC-SHA-256 of a fixed
 * text under the data key, cut to 64 bits.
 */
export function keyCheckValue(dataKey: Uint8Array): string {
  return createHmac('sha256', dataKey).update('mariadb-aws-kms key check value 1').digest('hex').slice(0, 16);
}
