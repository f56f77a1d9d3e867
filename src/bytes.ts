import { createHmac } from 'node:crypto';

/** Overwrites key bytes that we own. Copies made by V8 or the kernel are out of reach, as SECURITY.md says. */
export function wipe(bytes: Uint8Array): void {
  bytes.fill(0);
}

/**
 * Gives the memory of a large result back at once, which then has no bytes any more. Until the garbage collector runs, each
 * result would get fresh memory from the system, which takes longer than to decrypt into it.
 */
export function release({ buffer, byteLength }: Uint8Array): void {
  // A small result can share its memory with others.
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

/** Tells whether a data key can have this length. */
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
