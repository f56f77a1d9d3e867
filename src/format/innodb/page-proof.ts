/** Tells how far a decrypted page shows that it was decrypted with the right key. */
import { inflateSync } from 'node:zlib';
import { wipe } from '../../bytes.ts';
import type { SpaceLayout } from './layout.ts';
import { isIntact, writtenBytes } from './page-checksum.ts';
import { COMPRESSED_BIT, FIELD, FULL_CRC32_START, PAGE_TYPE } from './page-fields.ts';

/**
 * `checksum`: the page in clear has its own right checksum. `fields`: it names its tablespace and repeats its LSN, 64 bits.
 * `inflated`: what was compressed decompresses, with its Adler-32, to this page of this tablespace. `unproven`: the page is
 * compressed with an algorithm that is not read here.
 */
export const PROOFS = ['checksum', 'fields', 'inflated', 'unproven'] as const;
export type Proof = (typeof PROOFS)[number];

/** The server's number of zlib. */
const ZLIB = 1;
const [ZLIB_HEAD, DEFLATE] = [2, 8];
/** An older page-compressed page in clear: its payload's length and beginning. */
const [PAYLOAD_LENGTH, PAYLOAD] = [38, 40];

/**
 * @param page as `PageCipher.decrypt` leaves it, in clear
 * @returns undefined: the key is another
 */
export function proofOf(layout: SpaceLayout, page: Buffer, space: number): Proof | undefined {
  const type = page.readUInt16BE(FIELD.type);
  if (layout.form === 'full_crc32') {
    if ((type & COMPRESSED_BIT) !== 0) {
      if (layout.compression !== ZLIB) return 'unproven';
      return inflates(layout, page, space, page.subarray(FULL_CRC32_START, writtenBytes(layout, page)));
    }
    const lsn = page.readUInt32BE(FIELD.lsn + 4);
    const isThis = page.readUInt32BE(FIELD.spaceId) === space && page.readUInt32BE(page.length - 8) === lsn;
    return isThis ? 'fields' : undefined;
  }
  if (type !== PAGE_TYPE.pageCompressed) return isIntact(layout, page) ? 'checksum' : undefined;
  if (page.readUInt32BE(FIELD.olderChecksum) !== ZLIB) return 'unproven';
  return inflates(layout, page, space, page.subarray(PAYLOAD, PAYLOAD + page.readUInt16BE(PAYLOAD_LENGTH)));
}

function inflates({ pageBytes }: SpaceLayout, page: Buffer, space: number, stream: Buffer): Proof | undefined {
  if (!beginsAsZlib(stream)) return undefined;
  try {
    const clear = inflateSync(stream, { maxOutputLength: pageBytes });
    try {
      const isThis =
        clear.readUInt32BE(FIELD.number) === page.readUInt32BE(FIELD.number) &&
        clear.readUInt32BE(FIELD.spaceId) === space;
      return isThis ? 'inflated' : undefined;
    } finally {
      wipe(clear);
    }
  } catch {
    return undefined;
  }
}

/** RFC 1950, 2.2. Node frees a decompressor that failed late, and a wrong key would make one for each page. */
function beginsAsZlib(stream: Buffer): boolean {
  return stream.length >= ZLIB_HEAD && ((stream[0] ?? 0) & 0x0f) === DEFLATE && stream.readUInt16BE(0) % 31 === 0;
}
