/** Reads one file in full, by its kind. */
import { ARIA_KEY_ID } from '../format/aria-table.ts';
import { isBinaryLog } from '../format/binary-log.ts';
import { INNODB_BINARY_LOG_HEADER, isInnodbBinaryLog } from '../format/innodb/binary-log.ts';
import { REDO_LOG_KEY_ID } from '../format/innodb/redo-log.ts';
import { binaryLogUse } from '../format/key-use.ts';
import { scanAria } from './aria.ts';
import { stateOf, versionUses } from './file-audit.ts';
import { CLEAR_LOG, EMPTY_LOG, encryptedLog, type Found, isZero, type Readable } from './found.ts';
import { type ScanMeans, type SpaceRest, scanTablespace, type TablespaceScan } from './tablespace.ts';

const NO_DATA = { readInto: () => 0, bytes: 0 };

export interface FoundSpace {
  readonly found: Found;
  readonly rest: SpaceRest;
  /** The place where the file ends too early. */
  readonly cut: string | undefined;
  readonly isUnwritten: boolean;
}

export interface FoundAria {
  readonly found: Found;
  /** The place where a file of the table ends too early. */
  readonly cut: string | undefined;
}

/** Kinds of files with pages that are read without regard to other files. */
export type PagesKind =
  | 'tablespace'
  | 'remote tablespace'
  | 'undo tablespace'
  | 'temporary tablespace'
  | 'Aria table'
  | 'temporary Aria table';

/** The answer about such a file: plain data, which one thread sends to another. */
export interface Examined {
  readonly found: Found;
  /** The place where the file ends too early, where that is damage. */
  readonly cut: string | undefined;
  readonly isUnwritten: boolean;
}

/** @param data the .MAD file of an Aria table; undefined: there is no data */
export async function examinePages(
  kind: PagesKind,
  file: Readable,
  data: Readable | undefined,
  means: ScanMeans,
): Promise<Examined | undefined> {
  switch (kind) {
    case 'Aria table':
    case 'temporary Aria table': {
      const table = await examineAria(file, data, means);
      return table === undefined ? undefined : { ...table, isUnwritten: false };
    }
    case 'temporary tablespace': {
      const found = await examineTemporary(file, means);
      return found === undefined ? undefined : { found, cut: undefined, isUnwritten: false };
    }
    default: {
      const space = await examineTablespace(file, means);
      if (space === undefined) return undefined;
      const { found, cut, isUnwritten } = space;
      // A server makes an undo tablespace shorter before it writes page 0.
      return kind === 'undo tablespace' ? { found, cut: undefined, isUnwritten: false } : { found, cut, isUnwritten };
    }
  }
}

/** @param rest of the file before, in a tablespace of several files */
export async function examineTablespace(
  file: Readable,
  means: ScanMeans,
  rest?: SpaceRest,
): Promise<FoundSpace | undefined> {
  const scan = await scanTablespace(file, means, rest);
  return scan === undefined
    ? undefined
    : { found: foundIn(scan), rest: scan.rest, cut: scan.cut, isUnwritten: scan.isUnwritten };
}

/** A temporary tablespace has no crypt block: its key is that of the redo log. */
export async function examineTemporary(file: Readable, means: ScanMeans): Promise<Found | undefined> {
  const scan = await scanTablespace(file, means);
  if (scan === undefined) return undefined;
  const found = foundIn(scan);
  return { ...found, keyId: scan.unnamed > 0 ? REDO_LOG_KEY_ID : undefined };
}

function foundIn(scan: TablespaceScan): Found {
  const versions = versionUses(scan.versions);
  return {
    state: stateOf(versions, scan.clear.used, scan.unnamed),
    // The block of a tablespace that is not encrypted names a key as well.
    keyId: scan.crypt?.isEncrypted === true || versions.length > 0 ? scan.crypt?.keyId : undefined,
    asked: scan.crypt?.asked,
    versions,
    pages: {
      all: scan.pages,
      clear: scan.clear,
      spatial: scan.spatial,
      unnamed: scan.unnamed,
      neverEncrypted: scan.alwaysClear,
      empty: scan.empty,
      copies: scan.copies,
      strange: scan.strange,
      strangePages: scan.strangePages,
    },
  };
}

/** @param data the .MAD file; undefined: there is no data */
export async function examineAria(
  index: Readable,
  data: Readable | undefined,
  means: ScanMeans,
): Promise<FoundAria | undefined> {
  const scan = await scanAria(index, data ?? NO_DATA, means);
  if (scan === undefined) return undefined;
  const versions = versionUses(scan.versions);
  const found: Found = {
    state: stateOf(versions, scan.clear.used + scan.clearRowBytes),
    keyId: scan.isEncrypted ? ARIA_KEY_ID : undefined,
    asked: undefined,
    versions,
    pages: {
      all: scan.pages,
      clear: scan.clear,
      spatial: 0,
      unnamed: 0,
      neverEncrypted: scan.neverEncrypted,
      empty: scan.empty,
      copies: 0,
      strange: [],
      strangePages: 0,
    },
  };
  return { found, cut: scan.cut };
}

/** A binary log has one key version, which its beginning names. */
export function examineBinaryLog({ read, bytes }: Readable): Found | undefined {
  const use = binaryLogUse(read);
  if (use !== undefined) return encryptedLog(use.id, use.versions);
  const head = read(0, INNODB_BINARY_LOG_HEADER);
  if (isBinaryLog(head) || isInnodbBinaryLog(head)) return CLEAR_LOG;
  // InnoDB makes the next file before it is needed.
  return bytes === 0 || isZero(head) ? EMPTY_LOG : undefined;
}
