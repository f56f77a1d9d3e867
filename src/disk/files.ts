/** Small files, read whole and written durably. */
import { hash } from 'node:crypto';
import { constants } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Random } from '../clock.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { TEMPORARY_PREFIX } from '../format/key-file-name.ts';
import type { Access, FileSystem, OpenFile } from './file-system.ts';
import { READ_ONLY } from './small-file.ts';

const FILE_MODE = 0o600;
const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_NOFOLLOW } = constants;
const NEW_FILE = O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW;

/** @throws KeyError KEY_FILE_CORRUPT when it is no regular file or too large; the system's errors as they come */
export async function readWhole(fs: FileSystem, path: string, maxBytes: number): Promise<Buffer> {
  const file = await fs.open(path, READ_ONLY);
  try {
    const found = await file.stat();
    if (!found.isFile()) throw new KeyError('KEY_FILE_CORRUPT', 'it is not a regular file');
    if (found.size > maxBytes) throw tooLarge(maxBytes, `${found.size}`);
    const bytes = await file.readFile(maxBytes);
    if (bytes.length > maxBytes) throw tooLarge(maxBytes, 'more');
    return bytes;
  } finally {
    await file.close();
  }
}

function tooLarge(maxBytes: number, found: string): KeyError {
  return new KeyError('KEY_FILE_CORRUPT', `expected at most ${maxBytes} bytes, got ${found}`);
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
 * Writes a new file and syncs it; its name is durable after `syncDirectory`.
 * @param like a file whose owner, group and mode it takes
 */
export async function writeNew(
  fs: FileSystem,
  path: string,
  bytes: Uint8Array,
  like: Partial<Access> = {},
): Promise<void> {
  await (await createNew(fs, path, bytes, like)).close();
}

/** As `writeNew`. The file stays open, so that later writes append to it whatever its name then stands for. */
export async function createNew(
  fs: FileSystem,
  path: string,
  bytes: Uint8Array,
  like: Partial<Access> = {},
): Promise<OpenFile> {
  const file = await fs.open(path, NEW_FILE, FILE_MODE);
  try {
    await giveTo(file, dirname(path), like);
    if (like.mode !== undefined) await file.chmod(like.mode & 0o777);
    await file.writeFile(bytes);
    await file.sync();
    return file;
  } catch (error) {
    await file.close().catch(() => undefined);
    throw error;
  }
}

/**
 * Replaces an old file by a new one, which is synced: whenever this is interrupted, one of the two exists. The name is
 * durable after `syncDirectory`.
 * @param temporary a path in the same directory, which is unused afterwards
 */
export async function putInPlace(
  fs: FileSystem,
  path: string,
  temporary: string,
  bytes: Uint8Array,
  like: Partial<Access> = {},
): Promise<void> {
  try {
    await writeNew(fs, temporary, bytes, like);
    await fs.rename(temporary, path);
  } catch (error) {
    await fs.unlink(temporary).catch(() => undefined);
    throw error;
  }
}

/** The group's permissions of a mode. */
const GROUP = 0o070;

/**
 * Sets the file's owner and group. Only root can change the owner, and only root or a member of the group can set the
 * group. Without that right the file must admit the same users: the group is right, or the owner is right and the mode
 * gives the group nothing.
 * @throws KeyError STORE_UNAVAILABLE, and the system's errors
 */
async function giveTo(file: OpenFile, directory: string, { uid, gid, mode }: Partial<Access>): Promise<void> {
  if (uid === undefined || gid === undefined) return;
  await file.chown(uid, gid).catch(async (error: unknown) => {
    if (mode === undefined || systemErrorCode(error) !== 'EPERM') throw error;
    const made = await file.stat();
    if (made.gid === gid || (made.uid === uid && (mode & GROUP) === 0)) return;
    const permissions = (mode & 0o777).toString(8).padStart(4, '0');
    const text = `${directory}: a new file, of ${made.uid}:${made.gid}, cannot take over owner ${uid}:${gid} and mode ${permissions} of the old one`;
    const hint =
      made.uid === uid
        ? `the key files need no permissions of a group: chmod g= ${directory}/aws-kms-key.*`
        : `run this as root, or as user ${uid}`;
    throw new KeyError('STORE_UNAVAILABLE', text, { hint, cause: error });
  });
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
