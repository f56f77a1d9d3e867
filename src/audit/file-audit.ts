/** The answer about one file: whether it is encrypted, and under which key versions. */
import type { AskedEncryption } from '../format/innodb/crypt-block.ts';
import type { PageCounts } from './counts.ts';

export type FileKind =
  | 'tablespace'
  | 'system tablespace'
  | 'undo tablespace'
  | 'temporary tablespace'
  | 'Aria table'
  | 'temporary Aria table'
  | 'redo log'
  | 'redo log of a backup'
  | 'archived redo log'
  | 'binary log'
  | 'relay log';

/**
 * `partly`: some pages in use are encrypted and some are not, as while InnoDB encrypts or decrypts a tablespace. `empty`:
 * there is nothing that could be encrypted.
 */
export type FileState = 'encrypted' | 'partly' | 'clear' | 'empty';

export interface FileAudit {
  /** Relative when it is in the data directory. */
  readonly file: string;
  /** Absolute. Undefined: `file` is all that is known. */
  readonly path?: string;
  readonly kind: FileKind;
  readonly bytes: number;
  readonly state: FileState;
  /** The key id that the file names, or that its kind always has. Undefined: it names none. */
  readonly keyId: number | undefined;
  /** ENCRYPTED of the table as page 0 has it; undefined: page 0 has no encryption block, or the file has no page 0. */
  readonly asked: AskedEncryption | undefined;
  readonly versions: readonly VersionUse[];
  /** Undefined for logs, which have no pages. */
  readonly pages: PageTotals | undefined;
  /** True for a redo log with changes that data files may lack, because the server runs or did not shut down. */
  readonly needsRecovery?: boolean;
}

/** Pages under one key version; of a log, a version that it names, with no pages. */
export interface VersionUse extends Readonly<PageCounts> {
  readonly version: number;
}

export interface PageTotals {
  readonly all: number;
  /** Pages in clear that could be encrypted. */
  readonly clear: Readonly<PageCounts>;
  /** Pages in use among them that are of SPATIAL indexes, which InnoDB does not encrypt with checksums before full_crc32. */
  readonly spatial: number;
  /** Encrypted pages that name no key version, as in a temporary tablespace. */
  readonly unnamed: number;
  /** Pages that the server never encrypts. */
  readonly neverEncrypted: number;
  readonly empty: number;
  /** Copies in the doublewrite area. */
  readonly copies: number;
  /** Pages whose header or checksum is none of theirs: damaged, or written at every moment when they were read. */
  readonly strangePages: number;
  /** The first of them. */
  readonly strange: readonly number[];
}

export function versionUses(versions: ReadonlyMap<number, PageCounts>): readonly VersionUse[] {
  return [...versions].map(([version, counts]) => ({ version, ...counts })).sort((a, b) => a.version - b.version);
}

/** @param unnamed encrypted pages that name no key version */
export function stateOf(versions: readonly VersionUse[], clear: number, unnamed = 0): FileState {
  const used = versions.reduce((sum, version) => sum + version.used, unnamed);
  if (used > 0) return clear > 0 ? 'partly' : 'encrypted';
  return clear > 0 ? 'clear' : 'empty';
}
