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
import { type EncryptedSpace, judgedPages } from './innodb/judged-page.ts';
import { isIntact } from './innodb/page-checksum.ts';
import { FIELD } from './innodb/page-fields.ts';
import { OLD_REDO_LOG_HEADER, parseRedoLog } from './innodb/redo-log.ts';
import { type ReadAt, readTablespace } from './innodb/tablespace.ts';

/** The key that a data file of the server is encrypted with. */
export interface KeyUse {
  readonly id: KeyId;
  /** Versions that were seen on the pages read; the file may use more. */
  readonly versions: readonly KeyVersion[];
  /** Pages on which a key can be tried. Intact ones were encrypted with the version that they name. */
  readonly pages: readonly EncryptedPage[];
}

export interface EncryptedPage {
  readonly space: EncryptedSpace;
  readonly version: KeyVersion;
  /** The page's beginning, still encrypted. */
  readonly head: Buffer;
  /** Reads and verifies the whole page and page 0: a damaged page proves nothing. */
  readonly isWhole: () => boolean;
}

/** Pages to read; page 0 is a bitmap. */
const [FIRST_ARIA_PAGE, ARIA_PAGES_END] = [1, 16];

/** The key of a tablespace. */
export interface TablespaceUse {
  /** Undefined when no page is encrypted or the file is no tablespace. */
  readonly use: KeyUse | undefined;
  /** True for a table with ENCRYPTED=NO: no setting of the server encrypts it. */
  readonly staysClear: boolean;
}

export function tablespaceUse(read: ReadAt): TablespaceUse {
  const { layout, crypt } = readTablespace(read) ?? {};
  if (layout === undefined || crypt === undefined) return { use: undefined, staysClear: false };
  const staysClear = crypt.asked === 'no';
  // A minimum version of 0 means that some pages are unencrypted.
  const isUsed = crypt.isEncrypted && !(staysClear && crypt.minVersion === 0);
  return { use: isUsed ? use(crypt.keyId, [], encryptedPages(read, { layout, crypt })) : undefined, staysClear };
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

function encryptedPages(read: ReadAt, space: EncryptedSpace): readonly EncryptedPage[] {
  const { layout } = space;
  const isWhole = (number: number): boolean => {
    const page = read(number * layout.fileBytes, layout.fileBytes);
    return page.length === layout.fileBytes && isIntact(layout, page);
  };
  return judgedPages(layout, read).flatMap(({ number, head }) => {
    const version = head.readUInt32BE(FIELD.version);
    return isKeyVersion(version) ? [{ space, version, head, isWhole: () => isWhole(number) && isWhole(0) }] : [];
  });
}

/** Returns undefined for an invalid key id, and drops invalid versions: they come from a damaged file. */
function use(id: number, versions: readonly number[], pages: readonly EncryptedPage[] = []): KeyUse | undefined {
  if (!isKeyId(id)) return undefined;
  return { id, versions: [...new Set(versions)].filter(isKeyVersion).sort((a, b) => a - b), pages };
}
