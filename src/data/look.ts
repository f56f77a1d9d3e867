import { systemErrorCode } from '../errors.ts';
import {
  ariaUse,
  binaryLogUse,
  type EncryptedPage,
  type KeyUse,
  redoLogUse,
  tablespaceUse,
} from '../format/key-use.ts';
import type { KeyId, KeyVersion } from '../ids.ts';
import { nextTurn } from '../next-turn.ts';
import type { DataFiles } from './data-files.ts';
import type { DataLocations } from './locations.ts';
import { type Opened, type Unseen, Visit } from './visit.ts';
import { type FoundFile, foundFiles } from './walk.ts';

/** A key that some of the server's data is encrypted with. */
export interface FoundUse {
  readonly id: KeyId;
  /** Undefined: the file names the key without a version. */
  readonly version: KeyVersion | undefined;
  /** The first file that uses the key; relative when it is in the data directory. */
  readonly file: string;
  readonly files: number;
  /** Intact pages on which the key can be tried. */
  readonly pages: readonly FoundPage[];
}

export interface FoundPage extends EncryptedPage {
  readonly file: string;
}

export interface DataLook {
  readonly uses: readonly FoundUse[];
  /** Files and directories that could not be read: they may be encrypted with any key. */
  readonly unseen: readonly Unseen[];
  /** Tablespaces of tables with ENCRYPTED=NO. */
  readonly clear: readonly string[];
  /** How many files were read. */
  readonly files: number;
}

/** Files that no start of a server reads. */
const NOT_OF_A_START: ReadonlySet<FoundFile['kind']> = new Set([
  'temporary tablespace',
  'temporary Aria table',
  'backup file',
]);
/** Files to read before yielding to the event loop. */
const FILES_A_TURN = 64;
/** Limits for each key version. More than one page is kept, because a file may belong to another server. */
const [PAGES, PAGES_OF_A_FILE, DAMAGED_PAGES] = [16, 2, 64];

/**
 * Reads every file that a server may encrypt, and changes nothing. Unreadable files and directories are listed, not
 * thrown. Files not read when `signal` aborts are listed as unseen.
 */
export async function lookAtData(files: DataFiles, locations: DataLocations, signal: AbortSignal): Promise<DataLook> {
  const visit = new Visit(files, locations.datadir);
  const look = new Look(visit);
  let taken = 0;
  for (const found of foundFiles(visit, locations)) {
    if (signal.aborted) {
      visit.miss(locations.datadir, 'there was no time to look at everything');
      break;
    }
    look.file(found);
    taken += 1;
    if (taken % FILES_A_TURN === 0) await nextTurn();
  }
  return look.result();
}

/** `unsure`: no encrypted file was found, and something could not be read. */
export type KeyNeed = 'needs' | 'none' | 'unsure';

/** Tells whether the data that was found needs keys. */
export function keyNeedOf({ uses, unseen }: DataLook): KeyNeed {
  if (uses.length > 0) return 'needs';
  return unseen.length > 0 ? 'unsure' : 'none';
}

/** Names the first file that uses a key, the number of others, and the key. */
export function describeUse({ id, version, file, files }: FoundUse): string {
  const others = files > 1 ? ` and ${files - 1} more ${files === 2 ? 'file' : 'files'}` : '';
  return `${file}${others} (key ${id}${version === undefined ? '' : ` version ${version}`})`;
}

class Look {
  files = 0;
  readonly #visit: Visit;
  readonly #uses = new Map<string, Gathered>();
  readonly #clear: string[] = [];

  constructor(visit: Visit) {
    this.#visit = visit;
  }

  result(): DataLook {
    const uses = [...this.#uses.values()].sort((a, b) => a.id - b.id || (a.version ?? 0) - (b.version ?? 0));
    return { uses, unseen: this.#visit.unseen, clear: this.#clear, files: this.files };
  }

  file(found: FoundFile): void {
    if (NOT_OF_A_START.has(found.kind)) return;
    const opened = this.#visit.open(found);
    if (opened === undefined) return;
    try {
      this.files += 1;
      const use = this.#useOf(opened);
      if (use === 'unknown') opened.miss('its format is not known');
      else if (use !== undefined) this.#note(opened.shown, use);
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === undefined) throw error;
      opened.miss(code);
    } finally {
      opened.close();
    }
  }

  #useOf({ kind, shown, file: { read }, data }: Opened): KeyUse | 'unknown' | undefined {
    switch (kind) {
      case 'redo log':
      case 'archived redo log':
        return redoLogUse(read);
      case 'binary log':
        return binaryLogUse(read);
      case 'Aria table':
        return ariaUse(read, data?.read);
      default: {
        const { use, staysClear } = tablespaceUse(read);
        if (staysClear) this.#clear.push(shown);
        return use;
      }
    }
  }

  /** Pages are kept only if they are intact; checking that needs the open file. */
  #note(file: string, { id, versions, pages }: KeyUse): void {
    this.#gather(id, undefined, file);
    for (const version of versions) this.#gather(id, version, file);
    for (const version of new Set(pages.map((page) => page.version))) {
      const kept = this.#wholePages(this.#uses.get(keyOf(id, version)), file, pages, version);
      if (kept.length > 0) this.#gather(id, version, file).pages.push(...kept);
    }
  }

  #wholePages(
    known: Gathered | undefined,
    file: string,
    pages: readonly EncryptedPage[],
    version: KeyVersion,
  ): readonly FoundPage[] {
    if (known !== undefined && known.pages.length >= PAGES) return [];
    const kept: FoundPage[] = [];
    for (const page of pages.filter((candidate) => candidate.version === version).slice(0, DAMAGED_PAGES)) {
      if (kept.length === PAGES_OF_A_FILE) break;
      if (page.isWhole()) kept.push({ ...page, file });
    }
    return kept;
  }

  #gather(id: KeyId, version: KeyVersion | undefined, file: string): Gathered {
    const known = this.#uses.get(keyOf(id, version));
    if (known !== undefined) {
      known.files += 1;
      return known;
    }
    const gathered = { id, version, file, files: 1, pages: [] };
    this.#uses.set(keyOf(id, version), gathered);
    return gathered;
  }
}

interface Gathered extends FoundUse {
  files: number;
  readonly pages: FoundPage[];
}

function keyOf(id: KeyId, version: KeyVersion | undefined): string {
  return `${id}.${version ?? ''}`;
}
