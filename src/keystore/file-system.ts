import { closeSync, constants, openSync, readSync } from 'node:fs';
import { link, mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { type ReadAhead, type ReadAheadRequest, startReadAhead } from './read-ahead.ts';

/** The calls of node:fs/promises that a key directory needs, and one for thousands of small files. */
export interface FileSystem {
  open(path: string, flags: number, mode?: number): Promise<OpenFile>;
  readdir(path: string): Promise<string[]>;
  mkdir(path: string, mode: number): Promise<void>;
  link(existing: string, path: string): Promise<void>;
  rename(existing: string, path: string): Promise<void>;
  unlink(path: string): Promise<void>;
  stat(path: string): Promise<{ readonly mtimeMs: number } & Access>;
  /** With whose rights calls are made there. */
  uidAt(path: string): Promise<number>;
  /** The file's beginning, at once: returns the number of bytes. Does not wait for a FIFO's other end. */
  readNow(path: string, into: Uint8Array): number;
  /** Undefined: there is no other thread. */
  readonly startReadAhead?: (request: ReadAheadRequest) => ReadAhead;
}

/** Who may read a file. */
export interface Access {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

export interface OpenFile {
  writeFile(bytes: Uint8Array): Promise<void>;
  readFile(): Promise<Buffer>;
  stat(): Promise<{ isFile(): boolean; readonly size: number } & Access>;
  chown(uid: number, gid: number): Promise<void>;
  chmod(mode: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Without blocking, so that a FIFO in the place of a key file holds nobody up. */
export const READ_ONLY = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

export const nodeFileSystem: FileSystem = {
  open,
  readdir,
  mkdir: async (path, mode) => void (await mkdir(path, { mode })),
  link,
  rename,
  unlink,
  stat,
  uidAt: async () => userInfo().uid,
  readNow,
  startReadAhead,
};

/** A tenth of the time that opening, looking, reading and closing by promises takes. */
function readNow(path: string, into: Uint8Array): number {
  const descriptor = openSync(path, READ_ONLY);
  try {
    return readSync(descriptor, into, 0, into.length, null);
  } finally {
    closeSync(descriptor);
  }
}
