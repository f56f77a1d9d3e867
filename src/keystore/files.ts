/** Small files, read whole and written durably. */
import { hash } from 'node:crypto';
import { constants } from 'node:fs';
import { join } from 'node:path';
import type { Random } from '../clock.ts';
import { KeyError } from '../errors.ts';
import { TEMPORARY_PREFIX } from '../format/key-file-name.ts';
import { type Access, type FileSystem, READ_ONLY } from './file-system.ts';

const FILE_MODE = 0o600;

/** @throws KeyError KEY_FILE_CORRUPT when it is no regular file or too large; the system's errors as they come */
export async function readWhole(fs: FileSystem, path: string, maxBytes: number): Promise<Buffer> {
  const file = await fs.open(path, READ_ONLY);
  try {
    const found = await file.stat();
    if (!found.isFile()) throw new KeyError('KEY_FILE_CORRUPT', 'it is not a regular file');
    if (found.size > maxBytes) {
      throw new KeyError('KEY_FILE_CORRUPT', `expected at most ${maxBytes} bytes, got ${found.size}`);
    }
    return await file.readFile();
  } finally {
    await file.close();
  }
}

export async function accessOf(fs: FileSystem, path: string): Promise<Access> {
  const file = await fs.open(path, READ_ONLY);
  try {
    return await file.stat();
  } finally {
    await file.close();
  }
}

/**
 * A new file, synced; its name is not until `syncDirectory`.
 * @param like such as of the file whose place it takes
 */
export async function writeNew(
  fs: FileSystem,
  path: string,
  bytes: Uint8Array,
  like: Partial<Access> = {},
): Promise<void> {
  const file = await fs.open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, FILE_MODE);
  try {
    if (like.uid !== undefined && like.gid !== undefined) await file.chown(like.uid, like.gid);
    if (like.mode !== undefined) await file.chmod(like.mode & 0o777);
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

export async function syncDirectory(fs: FileSystem, path: string): Promise<void> {
  const directory = await fs.open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

export function temporaryPath(directory: string, random: Random): string {
  const unique = Array.from({ length: 4 }, () => Math.floor(random() * 2 ** 32).toString(36)).join('');
  return join(directory, `${TEMPORARY_PREFIX}${unique}`);
}

export function sha256(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}
