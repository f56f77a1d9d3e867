import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs';
import { READ_ONLY } from '../disk/small-file.ts';
import type { ReadAt } from '../format/innodb/tablespace.ts';

/** Read access to a server's data files. Nothing is ever written. */
export interface DataFiles {
  /**
   * Lists a directory's entries, and tells which are directories or links to directories.
   * @throws what node:fs throws
   */
  list(directory: string): readonly DataEntry[];
  /**
   * Opens a data file. Undefined: it holds no data.
   * @throws what node:fs throws, also for a symbolic link when links are refused
   */
  open(path: string, link?: 'followed' | 'refused'): OpenDataFile | undefined;
  /** True for a file that exists, or a symbolic link whose target exists. */
  isThere(path: string): boolean;
  isLink(path: string): boolean;
}

export interface DataEntry {
  readonly name: string;
  readonly mayBeDirectory: boolean;
  readonly isLink: boolean;
}

export interface OpenDataFile {
  readonly read: ReadAt;
  /** Reads into a buffer from an offset of the file; returns how many bytes there were. */
  readonly readInto: (into: Buffer, offset: number) => number;
  /** The file's length when it was opened. */
  readonly bytes: number;
  /** The descriptor, with which other threads read; undefined: they cannot. */
  readonly descriptor?: number | undefined;
  close(): void;
}

/** Synchronous: with promises a look at thousands of tables takes ten times as long. */
export const nodeDataFiles: DataFiles = {
  list: (directory) =>
    readdirSync(directory, { withFileTypes: true }).map((entry) => ({
      name: entry.name,
      isLink: entry.isSymbolicLink(),
      mayBeDirectory: !entry.isFile() && !entry.isFIFO() && !entry.isSocket(),
    })),
  open(path, link = 'followed') {
    // Opening some devices has side effects, so the type is checked first.
    const before = link === 'followed' ? statSync(path) : lstatSync(path);
    if (!hasData(before) && !before.isSymbolicLink()) return undefined;
    // Non-blocking: a FIFO may have replaced the file.
    const descriptor = openSync(path, link === 'followed' ? READ_ONLY : READ_ONLY | constants.O_NOFOLLOW);
    const close = (): void => closeSync(descriptor);
    const file = fstatSync(descriptor);
    if (!hasData(file)) {
      close();
      return undefined;
    }
    return { ...readersOf(descriptor), bytes: file.size, descriptor, close };
  },
  isThere: (path) => factsOf(statSync, path) !== undefined,
  isLink: (path) => factsOf(lstatSync, path)?.isSymbolicLink() === true,
};

/** Reads an open file; the caller closes it. */
export function readersOf(descriptor: number): Pick<OpenDataFile, 'read' | 'readInto'> {
  const readInto = (into: Buffer, offset: number): number => fill(descriptor, into, offset);
  const read = (offset: number, length: number): Buffer => {
    const bytes = Buffer.alloc(length);
    return bytes.subarray(0, readInto(bytes, offset));
  };
  return { read, readInto };
}

function factsOf(facts: (path: string) => Stats, path: string): Stats | undefined {
  try {
    return facts(path);
  } catch {
    return undefined;
  }
}

/** A block device is accepted: InnoDB allows one as its system tablespace. */
function hasData(file: Stats): boolean {
  return file.isFile() || file.isBlockDevice();
}

function fill(descriptor: number, into: Buffer, offset: number): number {
  let size = 0;
  for (let got = -1; got !== 0 && size < into.length; size += got) {
    got = readSync(descriptor, into, size, into.length - size, offset + size);
  }
  return size;
}
