/** Reads files in the calling thread, and in others where there is so much to read that they pay. */
import type { OpenDataFile } from '../data/data-files.ts';
import type { Opened } from '../data/visit.ts';
import { type Examined, examineBinaryLog, examinePages, examineTablespace, type FoundSpace } from './examine.ts';
import type { Found } from './found.ts';
import type { FileJob, SharedFile } from './messages.ts';
import { examineRedoLog } from './redo-log.ts';
import { CHUNK_BYTES, type ScanMeans } from './tablespace.ts';
import type { FileThreads, ThreadUse } from './threads.ts';

/** Files to have open at once where threads read them. */
const OPEN_FILES = 32;

interface SystemSpace extends Pick<FoundSpace, 'rest' | 'cut'> {
  readonly path: string;
}

type Advance = ScanMeans['advance'];

export class FileReader {
  readonly #means: Omit<ScanMeans, 'advance' | 'chunk'>;
  readonly #use: ThreadUse | undefined;
  readonly #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  #threads: FileThreads | undefined;
  #largeBytes = 0;
  #system: SystemSpace | undefined;

  /** @param use undefined: the calling thread reads all files */
  constructor(means: Omit<ScanMeans, 'advance' | 'chunk'>, use: ThreadUse | undefined) {
    this.#means = means;
    this.#use = use;
  }

  /** Files that the caller may have under way at once. */
  get openFiles(): number {
    return this.#threads === undefined ? 1 : OPEN_FILES;
  }

  /** The system tablespace up to the last of its files that was read. */
  get system(): SystemSpace | undefined {
    return this.#system;
  }

  /** The next file of a system tablespace is the first. */
  forgetSystem(): void {
    this.#system = undefined;
  }

  /**
   * Reads one file.
   * @returns undefined: its format is not known
   * @throws the reason of the signal, and the system's errors as they come
   */
  async read(opened: Opened, advance: Advance): Promise<Examined | undefined> {
    const bytes = opened.file.bytes + (opened.data?.bytes ?? 0);
    const here = (): Promise<Examined | undefined> =>
      this.#examine(opened, { ...this.#means, advance, chunk: this.#chunk });
    const threads = this.#threadsFor(bytes);
    if (threads === undefined) return await here();
    const job = bytes < (this.#use?.largeBytes ?? 0) ? undefined : this.#jobOf(opened);
    return await threads.examine(job, here, advance);
  }

  async close(): Promise<void> {
    await this.#threads?.close();
  }

  #jobOf({ kind, file, data }: Opened): FileJob | undefined {
    switch (kind) {
      // Short, or continued from the file before.
      case 'redo log':
      case 'archived redo log':
      case 'binary log':
      case 'system tablespace':
      case 'backup file':
        return undefined;
      default: {
        const [first, rows] = [shared(file), data && shared(data)];
        if (first === undefined || (data !== undefined && rows === undefined)) return undefined;
        return { kind, file: first, data: rows, checksums: this.#means.checksums };
      }
    }
  }

  #threadsFor(bytes: number): FileThreads | undefined {
    if (this.#use !== undefined && bytes >= this.#use.largeBytes) this.#largeBytes += bytes;
    if (this.#use !== undefined && this.#largeBytes > this.#use.afterBytes) this.#threads ??= this.#use.start();
    return this.#threads;
  }

  async #examine({ kind, path, file, data }: Opened, means: ScanMeans): Promise<Examined | undefined> {
    switch (kind) {
      case 'redo log':
      case 'archived redo log':
        return whole(await examineRedoLog(file, means));
      case 'binary log':
        return whole(examineBinaryLog(file));
      case 'system tablespace': {
        const space = await examineTablespace(file, means, this.#system?.rest);
        if (space !== undefined) this.#system = { rest: space.rest, cut: space.cut, path };
        return whole(space?.found);
      }
      case 'backup file':
        throw new Error('a backup file is never opened');
      default:
        return await examinePages(kind, file, data, means);
    }
  }
}

function whole(found: Found | undefined): Examined | undefined {
  return found === undefined ? undefined : { found, cut: undefined, isUnwritten: false };
}

function shared({ descriptor, bytes }: OpenDataFile): SharedFile | undefined {
  return descriptor === undefined ? undefined : { descriptor, bytes };
}
