import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import type { ReadAt } from '../format/key-use.ts';

/** What is read of a server's data files. Nothing is ever written. */
export interface DataFiles {
  /** Names below a directory, and which of them are directories or links to such. @throws what node:fs throws */
  list(directory: string): readonly DataEntry[];
  /** Undefined: it is no regular file. @throws what node:fs throws */
  open(path: string): OpenDataFile | undefined;
}

export interface DataEntry {
  readonly name: string;
  readonly mayBeDirectory: boolean;
  readonly isLink: boolean;
}

export interface OpenDataFile {
  readonly read: ReadAt;
  close(): void;
}

/** Synchronous: promises would make a look at thousands of tables ten times as long. */
export const nodeDataFiles: DataFiles = {
  list: (directory) =>
    readdirSync(directory, { withFileTypes: true }).map((entry) => ({
      name: entry.name,
      isLink: entry.isSymbolicLink(),
      mayBeDirectory: !entry.isFile() && !entry.isFIFO() && !entry.isSocket(),
    })),
  open(path) {
    // To open a device may do something.
    if (!statSync(path).isFile()) return undefined;
    // Without blocking: a FIFO may have come in its place.
    const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    const close = (): void => closeSync(descriptor);
    if (!fstatSync(descriptor).isFile()) {
      close();
      return undefined;
    }
    return { read: (offset, length) => readAt(descriptor, offset, length), close };
  },
};

function readAt(descriptor: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let size = 0;
  for (let got = -1; got !== 0 && size < length; size += got) {
    got = readSync(descriptor, bytes, size, length - size, offset + size);
  }
  return bytes.subarray(0, size);
}
