/** Data files with changes: what a fuzzer makes of whole ones. */
import fc from 'fast-check';

/** Numbers at which readers go wrong. */
const NUMBERS = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];
/** Distances between places where files have their headers. */
const STEPS = [1, 8, 512, 1024, 4096, 8192, 16_384];
/** Most bytes of a file: larger ones are cut, and reach nothing that smaller ones do not. */
const MOST_BYTES = 45_000;

interface Change {
  readonly how: 'flip' | 'number' | 'bytes' | 'cut' | 'grow' | 'remove' | 'zero' | 'splice' | 'move' | 'flags';
  /** A step, how many of them, and bytes behind. */
  readonly at: readonly [number, number, number];
  readonly value: number;
  readonly bytes: Uint8Array;
}

const change: fc.Arbitrary<Change> = fc.record({
  how: fc.constantFrom<Change['how']>(
    ...(['flip', 'number', 'bytes', 'cut', 'grow', 'remove', 'zero', 'splice', 'move', 'flags'] as const),
  ),
  at: fc.tuple(
    fc.constantFrom(...STEPS),
    fc.nat({ max: 40 }),
    fc.oneof(fc.nat({ max: 64 }), fc.nat({ max: 1 << 16 }), fc.integer({ min: -24, max: -1 })),
  ),
  value: fc.oneof(fc.constantFrom(...NUMBERS), fc.nat({ max: 64 }), fc.nat()),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 32 }),
});

/** A seed with a few changes, or any bytes. Nothing that is made is written anywhere. */
export function spoiltFile(seeds: readonly Buffer[]): fc.Arbitrary<Buffer> {
  const seed = fc.nat({ max: seeds.length - 1 }).map((number) => seeds[number] ?? Buffer.alloc(0));
  return fc.oneof(
    { weight: 20, arbitrary: fc.tuple(seed, seed, fc.array(change, { maxLength: 6 })).map(spoil) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes)) },
    { weight: 1, arbitrary: fc.tuple(seed, fc.uint8Array({ maxLength: 64 })).map(noise) },
  );
}

function spoil([seed, other, changes]: readonly [Buffer, Buffer, readonly Change[]]): Buffer {
  let bytes: Buffer = Buffer.from(seed.subarray(0, MOST_BYTES));
  for (const one of changes) bytes = changed(bytes, other, one).subarray(0, MOST_BYTES);
  return bytes;
}

/** All of a file is noise but its beginning. */
function noise([seed, pattern]: readonly [Buffer, Uint8Array]): Buffer {
  const bytes = Buffer.from(seed.subarray(0, MOST_BYTES));
  for (let at = 64; at < bytes.length; at += 1)
    bytes[at] = ((pattern[at % (pattern.length || 1)] ?? 0) * at) ^ (at >> 5);
  return bytes;
}

function changed(
  bytes: Buffer,
  other: Buffer,
  { how, at: [step, steps, behind], value, bytes: piece }: Change,
): Buffer {
  const at = Math.abs(step * steps + behind) % (bytes.length + 1);
  const before = bytes.subarray(0, at);
  switch (how) {
    case 'flip':
      if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << (value & 7));
      return bytes;
    case 'number': {
      const number = Buffer.alloc(4);
      number.writeUInt32BE(value >>> 0);
      if (value & 1) number.reverse();
      number.subarray(piece.length & 2).copy(bytes, at);
      return bytes;
    }
    case 'bytes':
      Buffer.from(piece).copy(bytes, at);
      return bytes;
    case 'cut':
      return before;
    case 'grow':
      return Buffer.concat([bytes, bytes.subarray(at)]);
    case 'remove':
      return Buffer.concat([before, bytes.subarray(at + piece.length)]);
    case 'zero':
      return bytes.fill(0, at, Math.min(bytes.length, at + step));
    case 'splice':
      return Buffer.concat([before, other.subarray(value % (other.length + 1))]);
    case 'move':
      bytes.copy(bytes, at, value % (bytes.length + 1), (value % (bytes.length + 1)) + step);
      return bytes;
    case 'flags':
      // The flags of a tablespace tell its form, on which all else depends.
      if (bytes.length >= 58) bytes.writeUInt32BE(value & 1 ? value >>> 0 : value & 0x1ffff, 54);
      return bytes;
  }
}
