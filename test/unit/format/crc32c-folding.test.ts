import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { crc32c } from '../../../src/format/crc32c.ts';
import { foldingChecksum, LEAST_FOLDED, type RawChecksum } from '../../../src/format/crc32c-folding.ts';

const BYTES = Uint8Array.from({ length: 256 }, (_, byte) => byte);
const TABLE = Array.from(BYTES, (byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  return crc;
});

/** The definition, byte by byte. */
const byBytes: RawChecksum = (bytes, state) => {
  let crc = state;
  for (const byte of bytes) crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 255] ?? 0);
  return crc;
};

const LENGTHS = [0, LEAST_FOLDED - 1, LEAST_FOLDED, LEAST_FOLDED + 1, 8188, 16_380, 32_764, 65_535, 65_536, 65_537];
const LONGER = [65_536 + LEAST_FOLDED - 1, 65_536 + LEAST_FOLDED, 200_000];

it.each([...LENGTHS, ...LONGER])('%i bytes have the checksum of the definition, at every alignment', (length) => {
  const rests: number[] = [];
  const folding = foldingChecksum((bytes, state) => {
    rests.push(bytes.length);
    return byBytes(bytes, state);
  });
  const random = randomBytes(length + 20);
  for (const from of [0, 1, 3, 8, 17]) {
    const part = random.subarray(from, from + length);
    const state = random.readInt32LE(0);
    expect(folding?.(part, state), `from ${from}`).toBe(byBytes(part, state));
    expect(crc32c(part)).toBe(~byBytes(part, -1) >>> 0);
  }
  // The slower way gets only a short rest.
  expect(Math.max(...rests)).toBeLessThan(LEAST_FOLDED);
});

it('one message leaves nothing behind that changes the next', () => {
  const folding = foldingChecksum(byBytes);
  for (const length of [65_536, 4096, 16_380, 4100, 65_530]) {
    const message = randomBytes(length);
    expect(folding?.(message, 7)).toBe(byBytes(message, 7));
  }
});
