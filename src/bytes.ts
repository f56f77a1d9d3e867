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

export const HEX_DIGITS = Buffer.from('0123456789abcdef');
const LINE_FEED = 0x0a;

/** Returns a line that ends with a key in hex; no string, which could not be wiped, holds the key. The caller wipes it. */
export function lineWithKey(start: string, key: Uint8Array): Buffer {
  const at = Buffer.byteLength(start);
  const line = Buffer.alloc(at + key.length * 2 + 1, LINE_FEED);
  line.write(start);
  for (const [index, byte] of key.entries()) {
    line[at + index * 2] = HEX_DIGITS[byte >> 4] ?? 0;
    line[at + index * 2 + 1] = HEX_DIGITS[byte & 15] ?? 0;
  }
  return line;
}

/** Returns the lines as one text, and wipes them. The caller wipes the text. */
export function joinLines(head: string, lines: readonly Buffer[]): Buffer {
  const text = Buffer.concat([Buffer.from(head), ...lines]);
  for (const line of lines) wipe(line);
  return text;
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
