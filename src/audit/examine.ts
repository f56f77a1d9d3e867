/** Reads one file in full, by its kind. */
import type { Clock } from '../clock.ts';
import type { OpenDataFile } from '../data/data-files.ts';
import { ARIA_KEY_ID } from '../format/aria-table.ts';
import { binaryLogUse, redoLogUse } from '../format/key-use.ts';
import { scanAria } from './aria.ts';
import { type FileAudit, stateOf, versionUses } from './file-audit.ts';
import { scanTablespace } from './tablespace.ts';

/** Undefined stands for a format that is not known. */
export type Found = Omit<FileAudit, 'file' | 'kind' | 'bytes'>;
type Readable = Pick<OpenDataFile, 'read' | 'readInto' | 'bytes'>;

const NO_DATA = { readInto: () => 0, bytes: 0 };
const CLEAR: Found = { state: 'clear', keyId: undefined, asked: undefined, versions: [], pages: undefined };

export async function examineTablespace(
  file: Readable,
  sleep: Clock['sleep'],
  signal: AbortSignal,
): Promise<Found | undefined> {
  const scan = await scanTablespace(file.readInto, file.bytes, sleep, signal);
  if (scan === undefined) return undefined;
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
  signal: AbortSignal,
): Promise<Found | undefined> {
  const scan = await scanAria(index, data ?? NO_DATA, signal);
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
  if (use === undefined) return { ...CLEAR, state: bytes === 0 ? 'empty' : 'clear' };
  const versions = use.versions.map((version) => ({ version, used: 0, free: 0 }));
  return { ...CLEAR, state: 'encrypted', keyId: use.id, versions };
}
