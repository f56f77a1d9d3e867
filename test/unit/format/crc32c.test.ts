import fc from 'fast-check';
import { expect, it } from 'vitest';
import { crc32c } from '../../../src/format/crc32c.ts';

/** The definition, bit by bit. */
function slow(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

it('the checksums of RFC 3720 B.4 come out', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
  expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43);
  expect(crc32c(Buffer.alloc(0))).toBe(0);
});

it('every length and alignment has the checksum of the definition', () => {
  const bytes = Uint8Array.from({ length: 120 }, (_, index) => (index * 73 + 11) & 255);
  for (let from = 0; from < 20; from += 1)
    for (let to = from; to <= bytes.length; to += 1) {
      const part = bytes.subarray(from, to);
      expect(crc32c(part), `${from} to ${to}`).toBe(slow(part));
    }
});

it('a checksum continues that of the bytes before', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), (bytes, cut) => {
      expect(crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))).toBe(slow(bytes));
    }),
  );
});
