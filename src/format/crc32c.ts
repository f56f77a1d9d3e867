import { foldingChecksum, LEAST_FOLDED, type RawChecksum } from './crc32c-folding.ts';

/**
 * CRC-32C (Castagnoli), sixteen bytes at a time: with one table for each of sixteen positions, the bytes need not wait
 * for each other (Kounavis and Berry, 2008).
 */
const POSITIONS = 16;
const POLYNOMIAL = 0x82f63b78;

/** For each position, the checksums of every byte that is followed by as many zero bytes. */
const TABLES = makeTables();
const NO_WORDS = new Int32Array();

/** Made when a long checksum is first needed. */
let long: RawChecksum | undefined;

/** @param before the checksum of what comes before the bytes */
export function crc32c(bytes: Uint8Array, before = 0): number {
  if (bytes.length < LEAST_FOLDED) return ~byTables(bytes, ~before) >>> 0;
  long ??= foldingChecksum(byTables) ?? byTables;
  return ~long(bytes, ~before) >>> 0;
}

function byTables(bytes: Uint8Array, state: number): number {
  const { buffer, byteOffset, length } = bytes;
  let crc = state;
  let at = 0;
  // An array of words begins at a multiple of four.
  for (const end = Math.min(-byteOffset & 3, length); at < end; at += 1) crc = step(crc, bytes[at]);
  const blocks = (length - at) >>> 4;
  const words = blocks === 0 ? NO_WORDS : new Int32Array(buffer, byteOffset + at, blocks << 2);
  for (let word = 0; word < words.length; word += 4) {
    const a = crc ^ (words[word] ?? 0);
    const b = words[word + 1] ?? 0;
    const c = words[word + 2] ?? 0;
    const d = words[word + 3] ?? 0;
    crc =
      of(15, a) ^
      of(14, a >>> 8) ^
      of(13, a >>> 16) ^
      of(12, a >>> 24) ^
      of(11, b) ^
      of(10, b >>> 8) ^
      of(9, b >>> 16) ^
      of(8, b >>> 24) ^
      of(7, c) ^
      of(6, c >>> 8) ^
      of(5, c >>> 16) ^
      of(4, c >>> 24) ^
      of(3, d) ^
      of(2, d >>> 8) ^
      of(1, d >>> 16) ^
      of(0, d >>> 24);
  }
  for (at += words.byteLength; at < length; at += 1) crc = step(crc, bytes[at]);
  return crc;
}

function step(crc: number, byte = 0): number {
  return (crc >>> 8) ^ of(0, crc ^ byte);
}

/** @param index its lowest byte counts */
function of(position: number, index: number): number {
  return TABLES[(position << 8) | (index & 255)] ?? 0;
}

function makeTables(): Int32Array {
  const tables = new Int32Array(POSITIONS << 8);
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
    tables[byte] = crc;
  }
  for (let at = 256; at < tables.length; at += 1) {
    const shorter = tables[at - 256] ?? 0;
    tables[at] = (shorter >>> 8) ^ (tables[shorter & 255] ?? 0);
  }
  return tables;
}
