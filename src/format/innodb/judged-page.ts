/** Index pages of the form full_crc32 (MariaDB's page0page.h), on which a key is tried. */
import { wipe } from '../../bytes.ts';
import { CIPHER_BLOCK, type DataKey, decryptBlocks } from '../encryption-scheme.ts';
import type { CryptBlock } from './crypt-block.ts';
import { isFreePage, type SpaceLayout } from './layout.ts';
import { pageIv } from './page-cipher.ts';
import { FIELD, FULL_CRC32_START, PAGE_TYPE } from './page-fields.ts';
import type { ReadAt } from './tablespace.ts';

/** The range of pages that are tested: after the fixed pages at a tablespace's beginning, within its first extent. */
const [FIRST_JUDGED_PAGE, JUDGED_PAGES_END] = [3, 16];
/** Bytes of page 0 to the states of those pages. */
const STATES_END = 178;

/** PAGE_NEW_INFIMUM of COMPACT and DYNAMIC, PAGE_OLD_INFIMUM of REDUNDANT. */
const INFIMA = [99, 101];
const INFIMUM = Buffer.from('infimum');

/** Bytes of a page that `judgePage` needs. */
export const PAGE_HEAD = FULL_CRC32_START + 7 * CIPHER_BLOCK;

/** A tablespace with a key. */
export interface EncryptedSpace {
  readonly layout: SpaceLayout;
  readonly crypt: CryptBlock;
}

/** `other`: the page was encrypted with another key. `unproven`: the page shows neither. */
export type Verdict = 'fits' | 'other' | 'unproven';

export interface JudgedPage {
  readonly number: number;
  /** The page's beginning, still encrypted. */
  readonly head: Buffer;
}

/** Returns the pages on which a key can be tried; none of older forms and of page compression. */
export function judgedPages(
  { form, isPageCompressed, pagesOfExtent, fileBytes }: SpaceLayout,
  read: ReadAt,
): JudgedPage[] {
  const pages: JudgedPage[] = [];
  if (form !== 'full_crc32' || isPageCompressed) return pages;
  const states = read(0, STATES_END);
  for (let number = FIRST_JUDGED_PAGE; number < JUDGED_PAGES_END; number += 1) {
    const head = read(number * fileBytes, PAGE_HEAD);
    if (head.length < PAGE_HEAD) break;
    // A free page may date from before the last change of the plugin or its keys.
    if (isFreePage({ pagesOfExtent }, states, number) === 1) continue;
    if (head.readUInt32BE(FIELD.number) !== number || head.readUInt16BE(FIELD.type) !== PAGE_TYPE.index) continue;
    pages.push({ number, head });
  }
  return pages;
}

/**
 * Tests whether a key fits an index page. The caller makes sure that the page and page 0 are intact: a damaged page
 * proves nothing.
 */
export function judgePage(space: EncryptedSpace, head: Buffer, key: DataKey): Verdict {
  const clear = decryptHead(space, head, key, PAGE_HEAD);
  try {
    const fits = INFIMA.some((at) =>
      clear
        .subarray(at - FULL_CRC32_START)
        .subarray(0, INFIMUM.length)
        .equals(INFIMUM),
    );
    if (fits) return 'fits';
    return clear.readUInt32BE(FIELD.spaceId - FULL_CRC32_START) === space.layout.id ? 'unproven' : 'other';
  } finally {
    wipe(clear);
  }
}

/** Tells whether any page, decrypted with the key, names its tablespace, as it does for the right key. */
export function saysItsTablespace(space: EncryptedSpace, head: Buffer, key: DataKey): boolean {
  const clear = decryptHead(space, head, key, FULL_CRC32_START + CIPHER_BLOCK);
  try {
    return clear.readUInt32BE(FIELD.spaceId - FULL_CRC32_START) === space.layout.id;
  } finally {
    wipe(clear);
  }
}

function decryptHead({ layout, crypt }: EncryptedSpace, head: Buffer, key: DataKey, end: number): Buffer {
  return decryptBlocks(key, crypt.iv, pageIv(layout.id, head), head.subarray(FULL_CRC32_START, end));
}
