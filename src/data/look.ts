import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { systemErrorCode } from '../errors.ts';
import { parseBinaryLogIndex } from '../format/binary-log.ts';
import {
  ariaUse,
  binaryLogUse,
  type EncryptedPage,
  type KeyUse,
  type ReadAt,
  redoLogUse,
  staysClear,
  tablespaceUse,
} from '../format/key-use.ts';
import type { KeyId, KeyVersion } from '../ids.ts';
import { nextTurn } from '../next-turn.ts';
import type { DataFiles } from './data-files.ts';
import type { DataLocations } from './locations.ts';

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

export interface Unseen {
  readonly path: string;
  readonly reason: string;
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

/** Files to read before yielding to the event loop. */
const FILES_A_TURN = 64;
/** Limits for each key version. More than one page is kept, because a file may belong to another server. */
const [PAGES, PAGES_OF_A_FILE, DAMAGED_PAGES] = [16, 2, 64];
const MAX_INDEX_BYTES = 1 << 20;
const MAX_PATH_BYTES = 4096;
const UNDO_TABLESPACES = 127;

/**
 * Reads every file that a server may encrypt, and changes nothing. Unreadable files and directories are listed, not
 * thrown. Files not read when `signal` aborts are listed as unseen.
 */
export async function lookAtData(files: DataFiles, locations: DataLocations, signal: AbortSignal): Promise<DataLook> {
  const look = new Look(files, locations.datadir);
  let taken = 0;
  for (const step of steps(look, locations)) {
    if (signal.aborted) {
      look.miss(locations.datadir, 'there was no time to look at everything');
      break;
    }
    step();
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

/** One step for each file, so that a look at thousands of files can yield between two. */
function* steps(look: Look, locations: DataLocations): Generator<() => void> {
  const { datadir, systemTablespace, redoLogs, undoLogs, logIndexes } = locations;
  const root = look.names(datadir);
  for (const name of root === undefined ? [] : (look.names(redoLogs) ?? []))
    if (/^ib_(?:logfile0|[0-9A-Fa-f]{16}\.log)$/.test(name.name)) yield () => look.redoLog(join(redoLogs, name.name));
  for (const path of systemTablespace) yield () => look.tablespace(path);
  for (const { name } of look.names(undoLogs) ?? [])
    if (isUndoTablespace(name)) yield () => look.tablespace(join(undoLogs, name));
  const indexes = (root ?? []).filter(({ name }) => name.endsWith('.index')).map(({ name }) => join(datadir, name));
  const directories = new Set(logIndexes.map((index) => dirname(index)));
  directories.delete(datadir);
  for (const directory of directories) {
    const beside = (look.names(directory) ?? []).filter(({ name }) => name.endsWith('.index'));
    indexes.push(...beside.map(({ name }) => join(directory, name)));
  }
  for (const index of new Set([...indexes, ...logIndexes])) {
    for (const line of look.lines(index)) {
      const beside = isAbsolute(line) ? [] : [join(dirname(index), basename(line))];
      yield () => look.binaryLog(index, [resolve(datadir, line), ...beside]);
    }
  }
  for (const { name, mayBeDirectory } of root ?? []) {
    if (!mayBeDirectory || name.startsWith('.') || name === 'lost+found') continue;
    const folder = join(datadir, name);
    // No database directory has a dot in its name: a dangling link of such a name may be that of a socket.
    if (name.includes('.') && !look.isThere(folder)) continue;
    for (const file of look.names(folder, true) ?? []) {
      const path = join(folder, file.name);
      if (file.name.endsWith('.ibd')) yield () => look.tablespace(path, file.isLink);
      else if (file.name.endsWith('.MAI') && !isTemporaryAria(file.name)) yield () => look.ariaTable(path, file.isLink);
      else if (file.name.endsWith('.isl')) yield () => look.remoteTablespace(path);
    }
  }
}

function isUndoTablespace(name: string): boolean {
  const number = /^undo(\d{3})$/.exec(name)?.[1];
  return number !== undefined && Number(number) >= 1 && Number(number) <= UNDO_TABLESPACES;
}

/** It may be encrypted with key 2, but the server does not read it after a restart. */
function isTemporaryAria(name: string): boolean {
  return name.startsWith('#sql-temptable');
}

class Look {
  files = 0;
  readonly #disk: DataFiles;
  readonly #datadir: string;
  readonly #uses = new Map<string, Gathered>();
  readonly #unseen: Unseen[] = [];
  readonly #clear: string[] = [];

  constructor(disk: DataFiles, datadir: string) {
    this.#disk = disk;
    this.#datadir = datadir;
  }

  result(): DataLook {
    const uses = [...this.#uses.values()].sort((a, b) => a.id - b.id || (a.version ?? 0) - (b.version ?? 0));
    return { uses, unseen: this.#unseen, clear: this.#clear, files: this.files };
  }

  miss(path: string, reason: string): void {
    this.#unseen.push({ path: this.#shown(path), reason });
  }

  /** @param mayBeNone true for an entry of the data directory, which need not be a directory */
  names(directory: string, mayBeNone = false): ReturnType<DataFiles['list']> | undefined {
    return this.#attempt(directory, () => this.#disk.list(directory), mayBeNone ? ['ENOTDIR', 'ENOENT'] : []);
  }

  isThere(path: string): boolean {
    return this.#disk.isThere(path);
  }

  /** Reads the lines of a log index; returns none when there is no such file. */
  lines(index: string): readonly string[] {
    const bytes = this.#with(index, ['ENOENT'], (read) => read(0, MAX_INDEX_BYTES + 1)) ?? Buffer.alloc(0);
    const lines = parseBinaryLogIndex(bytes.toString('utf8'));
    if (bytes.length > MAX_INDEX_BYTES) this.miss(index, 'it is too long');
    else if (lines.some((line) => Buffer.byteLength(line) > MAX_PATH_BYTES))
      this.miss(index, 'a line of it is too long');
    else return lines;
    return [];
  }

  redoLog(path: string): void {
    this.#examine(path, [], redoLogUse);
  }

  /** @param isLink the path comes from a link, so the file must exist; another file may have been removed meanwhile */
  tablespace(path: string, isLink = false): void {
    this.#examine(path, isLink ? [] : ['ENOENT'], (read) => {
      if (staysClear(read)) this.#clear.push(this.#shown(path));
      return tablespaceUse(read);
    });
  }

  /**
   * An InnoDB link (.isl): a text file with the path of a tablespace elsewhere, which must exist. The directory's owner
   * controls its content, or the target of a symbolic link in its place, so neither appears in messages.
   */
  remoteTablespace(link: string): void {
    if (this.#disk.isLink(link)) {
      this.miss(link, 'it is a symbolic link');
      return;
    }
    const text = this.#with(link, ['ENOENT'], (read) => read(0, MAX_PATH_BYTES).toString('utf8'), link, 'refused');
    const path = text?.replace(/[\r\n ]+$/, '');
    if (path === undefined) return;
    if (Buffer.byteLength(path) < MAX_PATH_BYTES && /^\P{Cc}*\.ibd$/u.test(path))
      this.#examine(resolve(this.#datadir, path), [], tablespaceUse, link);
    else this.miss(link, 'it names no tablespace');
  }

  ariaTable(path: string, isLink: boolean): void {
    const data = `${path.slice(0, -'.MAI'.length)}.MAD`;
    this.#examine(path, isLink ? [] : ['ENOENT'], (read) => {
      const isThere = this.#with(data, ['ENOENT'], (readData) => ({ use: ariaUse(read, readData) }));
      return isThere === undefined ? ariaUse(read, undefined) : isThere.use;
    });
  }

  /**
   * Reads the first of these paths that exists. Errors name the index instead of the path, because the index may hold
   * any text.
   */
  binaryLog(index: string, paths: readonly string[]): void {
    for (const path of new Set(paths)) if (this.#examine(path, ['ENOENT', 'ENOTDIR'], binaryLogUse, index)) return;
  }

  #examine(
    path: string,
    harmless: readonly string[],
    useOf: (read: ReadAt) => KeyUse | 'unknown' | undefined,
    namedBy = path,
  ): boolean {
    const examine = (read: ReadAt): true => {
      this.files += 1;
      const use = useOf(read);
      if (use === 'unknown') this.#missFile(path, namedBy, 'its format is not known');
      else if (use !== undefined) this.#note(path, use);
      return true;
    };
    return this.#with(path, harmless, examine, namedBy) === true;
  }

  /** Pages are kept only if they are intact; checking that needs the open file. */
  #note(path: string, { id, versions, pages }: KeyUse): void {
    const file = this.#shown(path);
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

  /** @param namedBy the file that contains the path, if there is one */
  #with<T>(
    path: string,
    harmless: readonly string[],
    work: (read: ReadAt) => T,
    namedBy = path,
    link: 'followed' | 'refused' = 'followed',
  ): T | undefined {
    const file = this.#attempt(path, () => this.#disk.open(path, link), harmless, namedBy);
    if (file === undefined) return undefined;
    try {
      return this.#attempt(path, () => work(file.read), [], namedBy);
    } finally {
      file.close();
    }
  }

  /** A dangling symbolic link is never ignored: its target may be on a volume that is not mounted. */
  #attempt<T>(path: string, action: () => T, harmless: readonly string[], namedBy = path): T | undefined {
    try {
      return action();
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === undefined) throw error;
      if (!harmless.includes(code) || this.#isLinkToNothing(path)) this.#missFile(path, namedBy, code);
      return undefined;
    }
  }

  #isLinkToNothing(path: string): boolean {
    return this.#disk.isLink(path) && !this.#disk.isThere(path);
  }

  #missFile(path: string, namedBy: string, reason: string): void {
    this.miss(namedBy, namedBy === path ? reason : `the file that it names: ${reason}`);
  }

  #shown(path: string): string {
    const inside = relative(this.#datadir, path);
    return inside === '' || inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside) ? path : inside;
  }
}

interface Gathered extends FoundUse {
  files: number;
  readonly pages: FoundPage[];
}

function keyOf(id: KeyId, version: KeyVersion | undefined): string {
  return `${id}.${version ?? ''}`;
}
