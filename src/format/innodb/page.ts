/** Encrypted pages of the format full_crc32 (MariaDB's fil0fil.h, page0page.h and fil0crypt.cc). */
import { wipe } from '../../bytes.ts';
import { crc32c } from '../crc32c.ts';
import { CIPHER_BLOCK, type DataKey, decryptBlocks } from '../encryption-scheme.ts';
import type { Tablespace } from './tablespace.ts';

/** The range of pages that are tested: after the fixed pages at a tablespace's beginning, within its first extent. */
export const [FIRST_JUDGED_PAGE, JUDGED_PAGES_END] = [3, 16] as const;

const [KEY_VERSION, NUMBER, LSN, TYPE, ENCRYPTED, SPACE_ID] = [0, 4, 16, 24, 26, 34];
const CHECKSUM = 4;
const TYPE_INDEX = 17_855;
const PAGE_IS_FREE = 1;
/** PAGE_NEW_INFIMUM of COMPACT and DYNAMIC, PAGE_OLD_INFIMUM of REDUNDANT. */
const INFIMA = [99, 101];
const INFIMUM = Buffer.from('infimum');

/** Bytes of a page that `indexPageVersion` and `judgePage` need. */
export const PAGE_HEAD = ENCRYPTED + 7 * CIPHER_BLOCK;

/** `other`: the page was encrypted with another key. `unproven`: the page shows neither. */
export type Verdict = 'fits' | 'other' | 'unproven';

/**
 * Returns the key version of an index page. Undefined: the page is unencrypted, free, of another kind, or has another
 * number.
 */
export function indexPageVersion(space: Tablespace, number: number, head: Buffer): number | undefined {
  // A free page may date from before the last change of the plugin or its keys.
  const isFree = (((space.states[number >> 2] ?? 0) >> ((number & 3) * 2)) & PAGE_IS_FREE) !== 0;
  if (isFree || head.readUInt32BE(NUMBER) !== number || head.readUInt16BE(TYPE) !== TYPE_INDEX) return undefined;
  return encryptedPageVersion(head);
}

/** Returns undefined for an unencrypted page. */
export function encryptedPageVersion(head: Buffer): number | undefined {
  return head.readUInt32BE(KEY_VERSION) || undefined;
}

/** Tells whether the page has the right checksum, which covers the encrypted bytes. */
export function isWholePage(page: Buffer): boolean {
  const end = page.length - CHECKSUM;
  return crc32c(page.subarray(0, end)) === page.readUInt32BE(end);
}

/**
 * Tests whether a key fits an index page. The caller makes sure that the page and page 0 are intact: a damaged page
 * proves nothing.
 */
export function judgePage(space: Tablespace, head: Buffer, key: DataKey): Verdict {
  const clear = decryptHead(space, head, key, PAGE_HEAD);
  try {
    const fits = INFIMA.some((at) =>
      clear
        .subarray(at - ENCRYPTED)
        .subarray(0, INFIMUM.length)
        .equals(INFIMUM),
    );
    if (fits) return 'fits';
    return clear.readUInt32BE(SPACE_ID - ENCRYPTED) === space.id ? 'unproven' : 'other';
  } finally {
    wipe(clear);
  }
}

/** Tells whether any page, decrypted with the key, names its tablespace, as it does for the right key. */
export function saysItsTablespace(space: Pick<Tablespace, 'id' | 'iv'>, head: Buffer, key: DataKey): boolean {
  const clear = decryptHead(space, head, key, ENCRYPTED + CIPHER_BLOCK);
  try {
    return clear.readUInt32BE(SPACE_ID - ENCRYPTED) === space.id;
  } finally {
    wipe(clear);
  }
}

function decryptHead({ id, iv }: Pick<Tablespace, 'id' | 'iv'>, head: Buffer, key: DataKey, end: number): Buffer {
  const pageIv = Buffer.alloc(CIPHER_BLOCK);
  pageIv.writeUInt32LE(id, 0);
  pageIv.writeUInt32LE(head.readUInt32BE(NUMBER), 4);
  pageIv.writeBigUInt64LE(head.readBigUInt64BE(LSN), 8);
  return decryptBlocks(key, iv, pageIv, head.subarray(ENCRYPTED, end));
}
