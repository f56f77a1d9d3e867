import { isKeyId, isKeyVersion, type KeyId, type KeyVersion } from '../ids.ts';
import {
  ARIA_BASE_HEAD,
  ARIA_INDEX_HEAD,
  ARIA_KEY_ID,
  ARIA_PAGE_HEAD,
  ariaPageVersion,
  parseAriaBase,
  parseAriaIndex,
} from './aria-table.ts';
import { BINARY_LOG_HEAD, BINARY_LOG_KEY_ID, parseBinaryLogKeyVersion } from './binary-log.ts';
import { FIRST_JUDGED_PAGE, indexPageVersion, isWholePage, JUDGED_PAGES_END, PAGE_HEAD } from './innodb/page.ts';
import { OLD_REDO_LOG_HEADER, parseRedoLog } from './innodb/redo-log.ts';
import {
  CRYPT_BLOCK,
  cryptBlockOffset,
  isDefinedClear,
  PAGE_ZERO_HEAD,
  parseTablespace,
  type Tablespace,
} from './innodb/tablespace.ts';

/** Reads from a file; returns fewer bytes at its end. */
export type ReadAt = (offset: number, length: number) => Buffer;

/** The key that a data file of the server is encrypted with. */
export interface KeyUse {
  readonly id: KeyId;
  /** Versions that were seen on the pages read; the file may use more. */
  readonly versions: readonly KeyVersion[];
  /** Pages on which a key can be tried. Intact ones were encrypted with the version that they name. */
  readonly pages: readonly EncryptedPage[];
}

export interface EncryptedPage {
  readonly space: Tablespace;
  readonly version: KeyVersion;
  /** The page's beginning, still encrypted. */
  readonly head: Buffer;
  /** Reads and verifies the whole page and page 0: a damaged page proves nothing. */
  readonly isWhole: () => boolean;
}

/** Pages to read; page 0 is a bitmap. */
const [FIRST_ARIA_PAGE, ARIA_PAGES_END] = [1, 16];

/** Returns undefined when no page is encrypted or the file is no tablespace. */
export function tablespaceUse(read: ReadAt): KeyUse | undefined {
  const head = read(0, PAGE_ZERO_HEAD);
  if (head.length < PAGE_ZERO_HEAD) return undefined;
  const block = read(cryptBlockOffset(head), CRYPT_BLOCK);
  const space = block.length < CRYPT_BLOCK ? undefined : parseTablespace(head, block);
  if (space === undefined) return undefined;
  return use(space.keyId, [], encryptedPages(read, space));
}

/** Tells whether page 0 says that the tablespace stays unencrypted whatever the server's settings are. */
export function staysClear(read: ReadAt): boolean {
  const head = read(0, PAGE_ZERO_HEAD);
  if (head.length < PAGE_ZERO_HEAD) return false;
  const block = read(cryptBlockOffset(head), CRYPT_BLOCK);
  return block.length === CRYPT_BLOCK && isDefinedClear(block);
}

/** Returns `unknown` for a format that may be encrypted in any way. */
export function redoLogUse(read: ReadAt): KeyUse | 'unknown' | undefined {
  const log = parseRedoLog(read(0, OLD_REDO_LOG_HEADER));
  return log === undefined || log === 'unknown' ? log : use(log.id, log.versions);
}

export function binaryLogUse(read: ReadAt): KeyUse | undefined {
  const version = parseBinaryLogKeyVersion(read(0, BINARY_LOG_HEAD)) ?? 0;
  return isKeyVersion(version) ? use(BINARY_LOG_KEY_ID, [version]) : undefined;
}

/**
 * @param readData reads the .MAD file; undefined: it does not exist, and there is no data, because the server creates
 * it last
 */
export function ariaUse(read: ReadAt, readData: ReadAt | undefined): KeyUse | undefined {
  if (readData === undefined) return undefined;
  const at = parseAriaIndex(read(0, ARIA_INDEX_HEAD));
  if (at === undefined) return undefined;
  const base = read(at, ARIA_BASE_HEAD);
  if (base.length < ARIA_BASE_HEAD) return undefined;
  const { isEncrypted, blockSize } = parseAriaBase(base);
  return isEncrypted ? use(ARIA_KEY_ID, ariaVersions(readData, blockSize)) : undefined;
}

function ariaVersions(read: ReadAt, blockSize: number): readonly number[] {
  const versions: number[] = [];
  for (let page = FIRST_ARIA_PAGE; page < ARIA_PAGES_END && blockSize >= ARIA_PAGE_HEAD; page += 1) {
    const head = read(page * blockSize, ARIA_PAGE_HEAD);
    if (head.length < ARIA_PAGE_HEAD) break;
    versions.push(ariaPageVersion(head) ?? 0);
  }
  return versions;
}

function encryptedPages(read: ReadAt, space: Tablespace): readonly EncryptedPage[] {
  const { pageSize } = space;
  if (pageSize === undefined) return [];
  const pages: EncryptedPage[] = [];
  const isWhole = (number: number): boolean => {
    const page = read(number * pageSize, pageSize);
    return page.length === pageSize && isWholePage(page);
  };
  for (let number = FIRST_JUDGED_PAGE; number < JUDGED_PAGES_END; number += 1) {
    const head = read(number * pageSize, PAGE_HEAD);
    if (head.length < PAGE_HEAD) break;
    const version = indexPageVersion(space, number, head) ?? 0;
    if (isKeyVersion(version)) pages.push({ space, version, head, isWhole: () => isWhole(number) && isWhole(0) });
  }
  return pages;
}

/** Returns undefined for an invalid key id, and drops invalid versions: they come from a damaged file. */
function use(id: number, versions: readonly number[], pages: readonly EncryptedPage[] = []): KeyUse | undefined {
  if (!isKeyId(id)) return undefined;
  return { id, versions: [...new Set(versions)].filter(isKeyVersion).sort((a, b) => a - b), pages };
}
