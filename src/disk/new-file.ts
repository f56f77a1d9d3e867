/** A large new file, which gets its name when it is complete. */
import {
  closeSync,
  constants,
  fsync,
  ftruncateSync,
  linkSync,
  lstatSync,
  openSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Random } from '../clock.ts';
import { KeyError, systemErrorCode } from '../errors.ts';

/** Synchronous, as reading data files is, except for what waits long for the disk. Offsets are those of the file. */
export interface NewFile {
  readonly descriptor: number;
  write(bytes: Uint8Array, offset: number): void;
  /** Gives the file its length, with a hole after what was written. */
  extend(bytes: number): void;
  /** Fills the buffer with what was written before. */
  read(into: Uint8Array, offset: number): void;
  /**
   * Syncs the file and gives it its name.
   * @throws KeyError STORE_UNAVAILABLE if a file of that name was made in the meantime
   */
  complete(): Promise<void>;
  /** Removes a complete file. */
  undo(): void;
  /** Removes the file, unless it is complete. Not to be called before `complete` has settled. */
  close(): void;
}

/** Gives all files their names, or none. @throws KeyError STORE_UNAVAILABLE */
export async function completeAll(files: readonly NewFile[]): Promise<void> {
  const done: NewFile[] = [];
  try {
    for (const file of files) {
      await file.complete();
      done.push(file);
    }
  } catch (error) {
    for (const file of done) file.undo();
    throw error;
  }
}

/** Waits in a thread of Node's own, so that other files can be written meanwhile. */
const sync = promisify(fsync);
const OWNER_ONLY = 0o600;
const NEW_FILE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY;

/** @throws KeyError STORE_UNAVAILABLE if a file of that name exists, or the directory cannot be written */
export function createNewFile(path: string, random: Random): NewFile {
  const unique = Math.floor(random() * 2 ** 48).toString(36);
  const temporary = join(dirname(path), `.${basename(path)}.${unique}`);
  const failed = (cause: unknown): KeyError => {
    const code = systemErrorCode(cause);
    if (code === undefined) throw cause;
    return code === 'EEXIST' ? taken(path) : unwritable(path, code, cause);
  };
  const attempt = <T>(action: () => T): T => {
    try {
      return action();
    } catch (error) {
      throw failed(error);
    }
  };
  // A long work is not begun for a name that is taken, also by a link to nothing.
  if (attempt(() => lstatSync(path, { throwIfNoEntry: false })) !== undefined) throw taken(path);
  const descriptor = attempt(() => openSync(temporary, NEW_FILE, OWNER_ONLY));
  return {
    descriptor,
    write: (bytes, offset) =>
      attempt(() => {
        for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done, undefined, offset + done);
      }),
    extend: (bytes) => attempt(() => ftruncateSync(descriptor, bytes)),
    read: (into, offset) =>
      attempt(() => {
        for (let done = 0, got = -1; got !== 0 && done < into.length; done += got)
          got = readSync(descriptor, into, done, into.length - done, offset + done);
      }),
    complete: async () => {
      try {
        await sync(descriptor);
        // A link, because a rename would replace another file.
        linkSync(temporary, path);
        await syncDirectory(dirname(path));
      } catch (error) {
        throw failed(error);
      }
    },
    undo: () => unlinkSync(path),
    close: () => {
      closeSync(descriptor);
      unlinkSync(temporary);
    },
  };
}

async function syncDirectory(path: string): Promise<void> {
  const directory = openSync(path, DIRECTORY);
  try {
    await sync(directory);
  } finally {
    closeSync(directory);
  }
}

function taken(path: string): KeyError {
  return new KeyError('STORE_UNAVAILABLE', `${path}: it exists, and is not replaced`, {
    hint: 'name another place, or remove that file if nobody needs it',
  });
}

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'make its directory first',
  EACCES: 'choose a directory that you may write, or become a user who may',
  EROFS: 'choose a file system that can be written',
  ENOSPC: 'free some space, or write to another file system',
  EDQUOT: 'free some space, or write to another file system',
  EFBIG: 'a limit of the process, see ulimit -f, or of the file system is lower than the size of the file',
};

/** The error of a file that the system does not let write. */
export function unwritable(path: string, code: string, cause: unknown): KeyError {
  return new KeyError('STORE_UNAVAILABLE', `${path}: ${code}`, { hint: HINTS[code], cause });
}
