/** Tablespaces made page by page, as MariaDB's fil0fil.h and fsp0fsp.h lay them out. */
import { CRYPT_BLOCK_BYTES } from '../../src/format/innodb/crypt-block.ts';
import { cryptBlockAt, parseLayout } from '../../src/format/innodb/layout.ts';
import { coveredChecksum, sealPage } from '../../src/format/innodb/page-checksum.ts';
import { FIELD, PAGE_TYPE } from '../../src/format/innodb/page-fields.ts';

export const PAGE = 16_384;
/** Flags of page 0: pages of 16 KiB in the form full_crc32, and with the older checksums and page compression. */
export const FLAGS = { full: 0x15, older: 0x21, compressed: 0x10021 } as const;
const [MAGIC, IV_LENGTH] = ['730e0c524574', 16];

export interface MadePage {
  /** The key version in the page's header; none: a page in clear. */
  readonly version?: number;
  readonly type?: number;
  /** A number of another page: the page is damaged, or a copy. */
  readonly number?: number;
  readonly isFree?: boolean;
  /** Damages the page after it got its checksum. */
  readonly isDamaged?: boolean;
}

export interface MadeSpace {
  readonly id?: number;
  readonly flags?: number;
  readonly keyId?: number;
  /** The scheme, 0 or 1; undefined: no crypt block. */
  readonly scheme?: number | undefined;
  readonly minVersion?: number;
  /** ENCRYPTED: 0 default, 1 YES, 2 NO. */
  readonly encryption?: number;
}

/** Makes a file of page 0 and these pages. */
export function madeTablespace(space: MadeSpace, pages: readonly (MadePage | 'empty')[]): Buffer {
  return Buffer.concat([pageZero(space, pages), ...pages.map((page, at) => madePage(space, at + 1, page))]);
}

export function madePage({ id = 5, flags = FLAGS.full }: MadeSpace, number: number, page: MadePage | 'empty'): Buffer {
  const bytes = Buffer.alloc(PAGE);
  if (page === 'empty') return bytes;
  const { version = 0, type = PAGE_TYPE.index, isDamaged = false } = page;
  bytes.writeUInt32BE(page.number ?? number, FIELD.number);
  bytes.writeUInt32BE(77, FIELD.lsn + 4);
  bytes.writeUInt16BE(type, FIELD.type);
  bytes.writeUInt32BE(id, FIELD.spaceId);
  if (flags === FLAGS.full) {
    bytes.writeUInt32BE(version, FIELD.version);
    bytes.writeUInt32BE(77, PAGE - 8);
    sealPage({ form: 'full_crc32' }, bytes);
  } else {
    bytes.writeUInt32BE(77, PAGE - 4);
    bytes.writeUInt32BE(version, FIELD.olderVersion);
    if (version === 0) sealPage({ form: 'older' }, bytes);
    else bytes.writeUInt32BE(coveredChecksum('older', bytes), FIELD.olderChecksum);
  }
  if (isDamaged) bytes.writeUInt8(bytes.readUInt8(9_000) ^ 1, 9_000);
  return bytes;
}

function pageZero(space: MadeSpace, pages: readonly (MadePage | 'empty')[]): Buffer {
  const { id = 5, flags = FLAGS.full, keyId = 7, minVersion = 1, encryption = 0 } = space;
  const scheme = 'scheme' in space ? space.scheme : 1;
  const page = Buffer.alloc(PAGE);
  page.writeUInt16BE(PAGE_TYPE.spaceHeader, FIELD.type);
  page.writeUInt32BE(77, FIELD.lsn + 4);
  page.writeUInt32BE(id, FIELD.spaceId);
  page.writeUInt32BE(1 + pages.length, 46);
  page.writeUInt32BE(flags, 54);
  // The states of pages, two bits each, begin in the descriptor of the first extent.
  for (const [at, each] of pages.entries()) if (each !== 'empty' && each.isFree) setBit(page, 150 + 24, at + 1);
  const layout = parseLayout(page);
  if (layout === undefined) throw new Error('the flags are those of no tablespace');
  if (scheme !== undefined) {
    const block = Buffer.alloc(CRYPT_BLOCK_BYTES);
    Buffer.from(MAGIC, 'hex').copy(block);
    block.writeUInt8(scheme, 6);
    block.writeUInt8(IV_LENGTH, 7);
    block.writeUInt32BE(minVersion, 24);
    block.writeUInt32BE(keyId, 28);
    block.writeUInt8(encryption, 32);
    block.copy(page, cryptBlockAt(layout));
  }
  page.writeUInt32BE(77, layout.form === 'full_crc32' ? PAGE - 8 : PAGE - 4);
  sealPage(layout, page);
  return page;
}

function setBit(page: Buffer, from: number, number: number): void {
  const at = from + (number >> 2);
  page.writeUInt8(page.readUInt8(at) | (1 << ((number & 3) * 2)), at);
}

/** Names the doublewrite area in page 5 of a system tablespace, and seals it again. */
export function nameDoublewrite(file: Buffer, first: number, second: number): void {
  const page = file.subarray(5 * PAGE, 6 * PAGE);
  page.writeUInt32BE(536_853_855, PAGE - 190);
  page.writeUInt32BE(first, PAGE - 186);
  page.writeUInt32BE(second, PAGE - 182);
  sealPage({ form: 'full_crc32' }, page);
}
