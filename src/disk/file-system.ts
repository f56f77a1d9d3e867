import { closeSync, openSync, readdir, readSync, stat } from 'node:fs';
import { type FileHandle, link, mkdir, open, rename, rmdir, unlink } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { promisify } from 'node:util';
import type { Clock, Random } from '../clock.ts';
import { type ReadAhead, type ReadAheadRequest, startReadAhead } from './read-ahead.ts';
import { READ_ONLY } from './small-file.ts';

/** The calls of node:fs/promises that a key directory needs, and one for reading thousands of small files. */
export interface FileSystem {
  open(path: string, flags: number, mode?: number): Promise<OpenFile>;
  readdir(path: string): Promise<string[]>;
  mkdir(path: string, mode: number): Promise<void>;
  link(existing: string, path: string): Promise<void>;
  rename(existing: string, path: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Removes an empty directory. */
  rmdir(path: string): Promise<void>;
  stat(path: string): Promise<{ readonly mtimeMs: number } & Access>;
  /** The user id with whose rights calls in that directory are made. */
  uidAt(path: string): Promise<number>;
  /** Reads the file's beginning synchronously and returns the number of bytes. Does not wait for a FIFO's other end. */
  readNow(path: string, into: Uint8Array): number;
  /** Undefined: reading ahead in another thread is not available. */
  readonly startReadAhead?: (request: ReadAheadRequest) => ReadAhead;
}

/** A file system, and what names and ages of files are made of. */
export interface Disk {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly random: Random;
}

/** Owner, group and mode of a file. */
export interface Access {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

export interface OpenFile {
  writeFile(bytes: Uint8Array): Promise<void>;
  /** Reads from the beginning, up to `mostBytes` + 1 bytes; the additional byte shows that the file is too long. */
  readFile(mostBytes: number): Promise<Buffer>;
  stat(): Promise<{ isFile(): boolean; readonly size: number } & Access>;
  chown(uid: number, gid: number): Promise<void>;
  chmod(mode: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

const CHUNK_BYTES = 65_536;

/** Names of node:fs/promises stand in functions: the executable loads that module when one is first used. */
export const nodeFileSystem: FileSystem = {
  open: async (path, flags, mode) => openFile(await open(path, flags, mode)),
  readdir: promisify(readdir),
  mkdir: async (path, mode) => void (await mkdir(path, { mode })),
  link: async (existing, path) => await link(existing, path),
  rename: async (existing, path) => await rename(existing, path),
  unlink: async (path) => await unlink(path),
  rmdir: async (path) => await rmdir(path),
  stat: promisify(stat),
  uidAt: async () => userInfo().uid,
  readNow,
  startReadAhead,
};

function openFile(file: FileHandle): OpenFile {
  return {
    writeFile: async (bytes) => await file.writeFile(bytes),
    readFile: async (mostBytes) => await readUpTo(file, mostBytes + 1),
    stat: async () => await file.stat(),
    chown: async (uid, gid) => await file.chown(uid, gid),
    chmod: async (mode) => await file.chmod(mode),
    sync: async () => await file.sync(),
    close: async () => await file.close(),
  };
}

async function readUpTo(file: FileHandle, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let total = 0; total < bytes; ) {
    const chunk = Buffer.allocUnsafe(Math.min(bytes - total, CHUNK_BYTES));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, total);
    if (bytesRead === 0) break;
    chunks.push(chunk.subarray(0, bytesRead));
    total += bytesRead;
  }
  return Buffer.concat(chunks);
}

/** Synchronous calls take a tenth of the time of the same calls by promises. */
function readNow(path: string, into: Uint8Array): number {
  const descriptor = openSync(path, READ_ONLY);
  try {
    return readSync(descriptor, into, 0, into.length, null);
  } finally {
    closeSync(descriptor);
  }
}
