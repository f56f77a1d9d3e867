import { basename, isAbsolute, relative, resolve, sep } from 'node:path';
import { systemErrorCode } from '../errors.ts';
import { parseBinaryLogIndex } from '../format/binary-log.ts';
import type { DataFiles, OpenDataFile } from './data-files.ts';
import { fileKindOf } from './file-kind.ts';
import { BACKUP_FILE, type FoundFile, type Lister } from './walk.ts';

export interface Unseen {
  readonly path: string;
  readonly reason: string;
}

/** A found file, opened. */
export interface Opened {
  readonly kind: FoundFile['kind'];
  readonly path: string;
  /** Relative when it is in the data directory. */
  readonly shown: string;
  readonly file: OpenDataFile;
  /** The .MAD file of an Aria table. Undefined: it does not exist, and there is no data, because the server creates it last. */
  readonly data: OpenDataFile | undefined;
  /** Records why the file was not read. */
  miss(reason: string): void;
  close(): void;
}

const MAX_INDEX_BYTES = 1 << 20;
const MAX_PATH_BYTES = 4096;
/** Files beside data files, without data that a server encrypts. */
const COMPANION = /\.(?:index|state|info|frm|opt|par|cfg|TRG|TRN)$/;

/** Opens the files that a walk finds, and records what cannot be read. */
export class Visit implements Lister {
  readonly unseen: Unseen[] = [];
  readonly #disk: DataFiles;
  readonly #datadir: string;
  readonly #shownFrom: string;

  /** @param shownFrom paths are shown relative to this directory when they are in it */
  constructor(disk: DataFiles, datadir: string, shownFrom = datadir) {
    this.#disk = disk;
    this.#datadir = datadir;
    this.#shownFrom = shownFrom;
  }

  /** Returns undefined for a file that is gone, holds no data, or cannot be opened, which is recorded. */
  open(found: FoundFile): Opened | undefined {
    switch (found.kind) {
      case 'redo log':
      case 'archived redo log':
        return this.#open(found.kind, found.path, []);
      case 'backup file':
        this.miss(found.path, 'it is a file of an incremental or compressed backup: prepare or unpack that first');
        return undefined;
      case 'remote tablespace':
        return this.#openRemote(found.path);
      case 'binary log':
        // Errors name the index instead of the path, because the index may hold any text.
        for (const path of found.paths) {
          const opened = this.#open(found.kind, path, ['ENOENT', 'ENOTDIR'], found.path);
          if (opened !== undefined) return opened;
        }
        return undefined;
      default:
        // Another file than a link's may have been removed meanwhile.
        return this.#open(found.kind, found.path, 'isLink' in found && found.isLink ? [] : ['ENOENT']);
    }
  }

  /**
   * Opens a file that was named by its path: its content and its name say what kind it is. Returns undefined for a file
   * that cannot be opened or is of no kind that a server encrypts, which is recorded.
   * @param mayBeOther files of other kinds are expected, and not recorded
   */
  openNamed(path: string, mayBeOther: boolean): Opened | undefined {
    if (path.endsWith('.isl')) return this.#openRemote(path);
    if (BACKUP_FILE.test(basename(path))) return this.open({ kind: 'backup file', path });
    // The two files of an Aria table are read together.
    const named = path.replace(/\.MAD$/, '.MAI');
    const file = this.#attempt(named, () => this.#disk.open(named) ?? 'no file', []);
    if (file === undefined) return undefined;
    const kind =
      file === 'no file' ? undefined : this.#attempt(named, () => fileKindOf(file.read, basename(named)), []);
    if (file !== 'no file' && kind !== undefined && kind !== 'other') return this.#opened(kind, named, named, file);
    if (file !== 'no file') file.close();
    if (!mayBeOther && !COMPANION.test(path) && (file === 'no file' || kind === 'other'))
      this.miss(path, 'it is no file that a server encrypts, or it is damaged at its beginning');
    return undefined;
  }

  miss(path: string, reason: string): void {
    this.unseen.push({ path: this.shown(path), reason });
  }

  names(directory: string, mayBeNone = false): ReturnType<DataFiles['list']> | undefined {
    return this.#attempt(directory, () => this.#disk.list(directory), mayBeNone ? ['ENOTDIR', 'ENOENT'] : []);
  }

  isThere(path: string): boolean {
    return this.#disk.isThere(path);
  }

  lines(index: string): readonly string[] {
    const bytes = this.#readStart(index, MAX_INDEX_BYTES + 1, 'followed') ?? Buffer.alloc(0);
    const lines = parseBinaryLogIndex(bytes.toString('utf8'));
    if (bytes.length > MAX_INDEX_BYTES) this.miss(index, 'it is too long');
    else if (lines.some((line) => Buffer.byteLength(line) > MAX_PATH_BYTES))
      this.miss(index, 'a line of it is too long');
    else return lines;
    return [];
  }

  shown(path: string): string {
    const inside = relative(this.#shownFrom, path);
    return inside === '' || inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside) ? path : inside;
  }

  /**
   * A link must name a tablespace that exists. The directory's owner controls the link's content, or the target of a
   * symbolic link in its place, so neither appears in messages.
   */
  #openRemote(link: string): Opened | undefined {
    if (this.#disk.isLink(link)) {
      this.miss(link, 'it is a symbolic link');
      return undefined;
    }
    const path = this.#readStart(link, MAX_PATH_BYTES, 'refused')
      ?.toString('utf8')
      .replace(/[\r\n ]+$/, '');
    if (path === undefined) return undefined;
    if (Buffer.byteLength(path) < MAX_PATH_BYTES && /^\P{Cc}*\.ibd$/u.test(path))
      return this.#open('remote tablespace', resolve(this.#datadir, path), [], link);
    this.miss(link, 'it names no tablespace');
    return undefined;
  }

  /** @param namedBy the file that contains the path, if there is one */
  #open(kind: FoundFile['kind'], path: string, harmless: readonly string[], namedBy = path): Opened | undefined {
    const file = this.#attempt(path, () => this.#disk.open(path), harmless, namedBy);
    return file === undefined ? undefined : this.#opened(kind, path, namedBy, file);
  }

  #opened(kind: FoundFile['kind'], path: string, namedBy: string, file: OpenDataFile): Opened {
    const isAria = kind === 'Aria table' || kind === 'temporary Aria table';
    const rows = isAria ? `${path.slice(0, -'.MAI'.length)}.MAD` : undefined;
    const data = rows === undefined ? undefined : this.#attempt(rows, () => this.#disk.open(rows), ['ENOENT']);
    return {
      kind,
      path,
      shown: this.shown(path),
      file,
      data,
      miss: (reason) => this.#missFile(path, namedBy, reason),
      close: () => {
        file.close();
        data?.close();
      },
    };
  }

  #readStart(path: string, bytes: number, link: 'followed' | 'refused'): Buffer | undefined {
    const file = this.#attempt(path, () => this.#disk.open(path, link), ['ENOENT']);
    if (file === undefined) return undefined;
    try {
      return this.#attempt(path, () => file.read(0, bytes), []);
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
}
