import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, mkdir, open, rmdir, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { KeyError, systemErrorCode } from '../errors.ts';
import { nodeFileSystem } from './file-system.ts';
import { putInPlace, syncDirectory } from './files.ts';
import { ownerOfPlace } from './place-owner.ts';
import { readSmallFile } from './small-file.ts';

/** The owner of a file, and the user who runs this program. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
  /** The current user; root gives new files to the owner. */
  readonly runnerUid: number;
  /** Lets root act with the owner's permissions only. */
  asOwner<T>(action: () => Promise<T>): Promise<T>;
}

const DIRECTORY_MODE = 0o700;
const OTHERS_MAY_WRITE = 0o022;

/**
 * Replaces the text of a file of secrets by `change` of it, durably and atomically, or leaves it as it is. Symbolic
 * links, other owners' files and directories that others may write are refused.
 * @throws KeyError STORE_UNAVAILABLE, and what `change` throws
 */
export async function replaceSecretFile(path: string, owner: Owner, change: (text: string) => string): Promise<void> {
  if (owner.runnerUid !== 0 && owner.runnerUid !== owner.uid) {
    throw refused(path, 'it would belong to another user', 'run this as root or as that user');
  }
  // Fails if a user other than the owner can replace a directory on the path.
  const place = owner.runnerUid === 0 ? await ownerOfPlace(dirname(path)) : { uid: owner.uid };
  // If the owner controls the path, root acts with the owner's rights, so that links lead only to files of the owner.
  if (owner.runnerUid !== owner.uid && place.uid !== 0) {
    await owner.asOwner(() => replace(path, { ...owner, runnerUid: owner.uid }, change));
  } else {
    await replace(path, owner, change);
  }
}

async function replace(path: string, owner: Owner, change: (text: string) => string): Promise<void> {
  await ensureDirectory(dirname(path), owner);
  await requireOwnFile(path, owner);
  const before = await textOf(path);
  const after = change(before);
  if (after === before) return;
  if (after === '') {
    await remove(path);
    return;
  }
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.tmp`);
  try {
    const like = owner.runnerUid === 0 ? { uid: owner.uid, gid: owner.gid } : {};
    await putInPlace(nodeFileSystem, path, temporary, Buffer.from(after), like);
    await syncDirectory(nodeFileSystem, dirname(path));
  } catch (cause) {
    throw refused(path, systemErrorCode(cause) ?? 'unknown error', 'look at the system error in this message', cause);
  }
}

/** Removes an empty file, and its directory if that is the usual one and is empty. */
async function remove(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (cause) {
    throw refused(path, systemErrorCode(cause) ?? 'unknown error', 'look at the system error in this message', cause);
  }
  if (basename(dirname(path)) === '.aws') await rmdir(dirname(path)).catch(() => undefined);
}

async function ensureDirectory(path: string, owner: Owner): Promise<void> {
  try {
    await mkdir(path, { mode: DIRECTORY_MODE });
    if (owner.runnerUid === 0) {
      const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
      await directory.chown(owner.uid, owner.gid).finally(() => directory.close());
    }
  } catch (cause) {
    if (systemErrorCode(cause) !== 'EEXIST') {
      throw refused(path, `cannot create the directory (${systemErrorCode(cause)})`, 'create it first', cause);
    }
  }
  const facts = await lstat(path);
  if (!facts.isDirectory()) throw refused(path, 'it is no directory', 'symbolic links are not followed here');
  if (facts.uid !== owner.uid && facts.uid !== 0) {
    throw refused(path, `it belongs to user ${facts.uid}`, `chown ${owner.uid} ${path}`);
  }
  if ((facts.mode & OTHERS_MAY_WRITE) !== 0) {
    throw refused(path, 'others may write this directory', `chmod go-w ${path}`);
  }
}

async function requireOwnFile(path: string, owner: Owner): Promise<void> {
  const facts = await lstat(path).catch((error: unknown) => {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw refused(path, systemErrorCode(error) ?? 'unknown error', 'look at the system error in this message', error);
  });
  if (facts === undefined) return;
  if (!facts.isFile()) throw refused(path, 'it is no regular file', 'symbolic links are not followed here');
  if (facts.uid !== owner.uid) throw refused(path, `it belongs to user ${facts.uid}`, `chown ${owner.uid} ${path}`);
}

async function textOf(path: string): Promise<string> {
  try {
    return (await readSmallFile(path)).toString('utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return '';
    throw refused(path, systemErrorCode(error) ?? 'unknown error', 'the owner must be allowed to read it', error);
  }
}

function refused(path: string, reason: string, hint: string, cause?: unknown): KeyError {
  return new KeyError('STORE_UNAVAILABLE', `${path} was not changed: ${reason}`, { hint, cause });
}
