/**
 * Checksums from before CRC-32C (innodb_checksum_algorithm=innodb and none, until MariaDB 10.2.2 the default). Servers
 * still read pages that have them; innochecksum of 10.6 and later does not.
 */
import { FIELD, OLDER_END, OLDER_START } from './page-fields.ts';

/** The number in place of the checksum under innodb_checksum_algorithm=none. */
const NO_CHECKSUM = 0xdeadbeef;
const [MASK, FIRST_MASK] = [1_463_735_687, 1_653_893_711];
const ADLER_BASE = 65_521;

/** Tells whether a page, not of ROW_FORMAT=COMPRESSED, has the checksums of the algorithm innodb or none. */
export function hasOldestChecksum(page: Buffer): boolean {
  const [first, last] = [page.readUInt32BE(FIELD.checksum), page.readUInt32BE(page.length - OLDER_END)];
  if (first === NO_CHECKSUM && last === NO_CHECKSUM) return true;
  if (folded(page, 0, 26) !== last) return false;
  return (folded(page, 4, 26) + folded(page, OLDER_START, page.length - OLDER_END)) >>> 0 === first;
}

/** The same of a page of ROW_FORMAT=COMPRESSED: Adler-32, begun at 0. */
export function hasOldZipChecksum(page: Buffer): boolean {
  const stored = page.readUInt32BE(FIELD.checksum);
  if (stored === NO_CHECKSUM) return true;
  let [low, high] = [0, 0];
  for (const [from, to] of [
    [4, 16],
    [24, 26],
    [34, page.length],
  ] as const)
    for (let at = from; at < to; at += 1) {
      low = (low + (page[at] ?? 0)) % ADLER_BASE;
      high = (high + low) % ADLER_BASE;
    }
  return ((high << 16) | low) >>> 0 === stored;
}

function folded(page: Buffer, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at < to; at += 1) {
    const byte = page[at] ?? 0;
    sum = ((((((sum ^ byte ^ FIRST_MASK) << 8) + sum) | 0) ^ MASK) + byte) | 0;
  }
  return sum >>> 0;
}
