/** Reads one file in full, by its kind. */
import type { OpenDataFile } from '../data/data-files.ts';
import { ARIA_KEY_ID } from '../format/aria-table.ts';
import { isBinaryLog } from '../format/binary-log.ts';
import { isRedoLog, REDO_LOG_HEADER, REDO_LOG_KEY_ID } from '../format/innodb/redo-log.ts';
import { binaryLogUse, redoLogUse } from '../format/key-use.ts';
import { scanAria } from './aria.ts';
import { type FileAudit, stateOf, versionUses } from './file-audit.ts';
import { type ScanMeans, type SpaceRest, scanTablespace, type TablespaceScan } from './tablespace.ts';

/** Undefined stands for a format that is not known. */
export type Found = Omit<FileAudit, 'file' | 'kind' | 'bytes'>;
type Readable = Pick<OpenDataFile, 'read' | 'readInto' | 'bytes'>;

const NO_DATA = { readInto: () => 0, bytes: 0 };
const CLEAR: Found = { state: 'clear', keyId: undefined, asked: undefined, versions: [], pages: undefined };
/** Bytes of a redo log without records, as the preparation of a backup leaves it. */
const EMPTY_REDO_LOG = 12_304;
/** Bytes at the beginning of a binary log. */
const BINARY_LOG_START = 32;

export interface FoundSpace {
  readonly found: Found;
  readonly rest: SpaceRest;
}

/** @param rest of the file before, in a tablespace of several files */
export async function examineTablespace(
  file: Readable,
  means: ScanMeans,
  rest?: SpaceRest,
): Promise<FoundSpace | undefined> {
  const scan = await scanTablespace(file, means, rest);
  return scan === undefined ? undefined : { found: foundIn(scan), rest: scan.rest };
}

/** A temporary tablespace has no crypt block: its key is that of the redo log. */
export async function examineTemporary(file: Readable, means: ScanMeans): Promise<Found | undefined> {
  const scan = await scanTablespace(file, means);
  if (scan === undefined) return undefined;
  const found = foundIn(scan);
  return { ...found, keyId: found.versions.length > 0 ? REDO_LOG_KEY_ID : undefined };
}

function foundIn(scan: TablespaceScan): Found {
  const versions = versionUses(scan.versions);
  return {
    state: stateOf(versions, scan.clear.used),
    // The block of a tablespace that is not encrypted names a key as well.
    keyId: scan.crypt?.isEncrypted === true || versions.length > 0 ? scan.crypt?.keyId : undefined,
    asked: scan.crypt?.asked,
    versions,
    pages: {
      all: scan.pages,
      clear: scan.clear,
      spatial: scan.spatial,
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
): Promise<Found | undefined> {
  const scan = await scanAria(index, data ?? NO_DATA, means);
  if (scan === undefined) return undefined;
  const versions = versionUses(scan.versions);
  return {
    state: stateOf(versions, scan.clear.used + scan.clearRowBytes),
    keyId: scan.isEncrypted ? ARIA_KEY_ID : undefined,
    asked: undefined,
    versions,
    pages: {
      all: scan.pages,
      clear: scan.clear,
      spatial: 0,
      neverEncrypted: scan.neverEncrypted,
      empty: scan.empty,
      copies: 0,
      strange: [],
      strangePages: 0,
    },
  };
}

/** A log has one key version, which its header names. */
export function examineLog({ read, bytes }: Readable, kind: 'redo log' | 'binary log'): Found | undefined {
  const use = kind === 'redo log' ? redoLogUse(read) : binaryLogUse(read);
  if (use === 'unknown') return undefined;
  if (use !== undefined) {
    const versions = use.versions.map((version) => ({ version, used: 0, free: 0 }));
    return { ...CLEAR, state: 'encrypted', keyId: use.id, versions };
  }
  if (bytes === 0) return { ...CLEAR, state: 'empty' };
  if (kind === 'binary log') return isBinaryLog(read(0, BINARY_LOG_START)) ? CLEAR : undefined;
  if (!isRedoLog(read(0, REDO_LOG_HEADER))) return undefined;
  return { ...CLEAR, state: bytes <= EMPTY_REDO_LOG ? 'empty' : 'clear' };
}
