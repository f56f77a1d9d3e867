/** The files of an audit log on disk. */
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { placeOfDirectory } from '../disk/place-owner.ts';
import { READ_ONLY, readSmallFile } from '../disk/small-file.ts';
import { systemErrorCode } from '../errors.ts';

export interface AuditFiles {
  /** Reads a file; undefined only when there is none. @throws the system's errors */
  read(path: string): Promise<Buffer | undefined>;
  /** Returns the names in a directory. @throws the system's errors */
  list(directory: string): Promise<readonly string[]>;
  /** Makes the directory of the file, if it is missing and the one above exists. @throws the system's errors */
  prepare(path: string): Promise<void>;
  /** Opens a file and makes it if it is missing. @throws the system's errors, and one with a text of ours */
  open(path: string): Promise<AuditFile>;
}

export interface AuditFile {
  read(): Promise<Buffer>;
  /** Appends and syncs. A failure takes back what has been written. @throws the system's errors */
  append(bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Bytes of a file that is read: a command appends about two thousand. */
const MOST_BYTES = 268_435_456;
const { O_RDWR, O_APPEND, O_CREAT, O_NOFOLLOW, O_DIRECTORY } = constants;
const APPEND = READ_ONLY | O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW;
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

/** @param uid the current user: root keeps no log where another user could change it */
export function nodeAuditFiles(uid: number): AuditFiles {
  return {
    read: async (path) => {
      try {
        return await readSmallFile(path, MOST_BYTES);
      } catch (error) {
        if (systemErrorCode(error) === 'ENOENT') return undefined;
        throw error;
      }
    },
    list: async (directory) => await readdir(directory),
    prepare: async (path) => {
      const directory = dirname(path);
      if (uid === 0) await assertRoots(directory);
      await mkdir(directory, { mode: DIRECTORY_MODE }).catch((error: unknown) => {
        if (systemErrorCode(error) !== 'EEXIST') throw error;
      });
    },
    open: async (path) => {
      const file = await open(path, APPEND, FILE_MODE);
      try {
        const facts = await file.stat();
        if (!facts.isFile()) throw refusal('it is no regular file');
        if (facts.uid !== uid && facts.uid !== 0) throw refusal(`it belongs to user ${facts.uid}`);
        if (facts.size > MOST_BYTES) throw refusal(`it has more than ${MOST_BYTES} bytes: rotate it`);
        if (facts.size === 0) await syncDirectoryOf(path);
      } catch (error) {
        await file.close();
        throw error;
      }
      return auditFile(file);
    },
  };
}

function auditFile(file: FileHandle): AuditFile {
  return {
    read: async () => {
      const bytes = Buffer.alloc((await file.stat()).size);
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await file.read(bytes, done, bytes.length - done, done);
        if (bytesRead === 0) return bytes.subarray(0, done);
        done += bytesRead;
      }
      return bytes;
    },
    append: async (bytes) => {
      const { size } = await file.stat();
      try {
        await file.appendFile(bytes);
        await file.sync();
      } catch (error) {
        await file.truncate(size).catch(() => undefined);
        throw error;
      }
    },
    close: async () => await file.close(),
  };
}

async function assertRoots(directory: string): Promise<void> {
  const { owner } = await placeOfDirectory(directory);
  if (owner.uid !== 0) throw refusal(`user ${owner.uid} may change ${directory}: root keeps no audit log there`);
  if (owner.isShared) throw refusal(`others may change ${directory}: root keeps no audit log there`);
}

async function syncDirectoryOf(path: string): Promise<void> {
  const directory = await open(dirname(path), O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function refusal(text: string): Error {
  return Object.assign(new Error(text), { code: 'REFUSED' });
}
