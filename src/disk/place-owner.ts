/** The user who controls a place in the file system, as root must see it. */
import { lstat, readlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { KeyError, systemErrorCode } from '../errors.ts';

export interface PlaceOwner {
  readonly uid: number;
  /** The group of the directory or link that they own; not always a group that they are in. */
  readonly gid: number;
  /** The directory is root's, and others may create entries in it and remove any. */
  readonly isShared: boolean;
}

export interface Place {
  /** The owner of the directory. */
  readonly owner: PlaceOwner;
  /** The path of a file after its permitted links have been followed. */
  readonly path: string;
  /** The path ends in a link that must not be followed. */
  readonly isLink: boolean;
  /** The error of a missing directory on the way, where others could create that directory. */
  readonly absent: unknown;
}

/** A directory on the way that root owns. */
interface Directory {
  readonly path: string;
  readonly othersWrite: boolean;
  readonly isSticky: boolean;
}

const TOP: Directory = { path: '/', othersWrite: false, isSticky: false };
const OTHERS_MAY_WRITE = 0o022;
const STICKY = 0o1000;
/** The limit of Linux. */
const MOST_LINKS = 40;

/**
 * Returns the first user other than root who owns a directory or a symbolic link on the path: that user can redirect
 * the rest of the path at any moment. For a path that does not exist, the existing part counts.
 * @throws KeyError STORE_UNAVAILABLE where any user can redirect it; the system's errors as they come
 */
export async function ownerOfPlace(path: string): Promise<PlaceOwner> {
  return (await placeOfDirectory(path)).owner;
}

/** Like `ownerOfPlace`, with the resolved path of the directory. */
export async function placeOfDirectory(path: string): Promise<Place> {
  return await walk(path, false);
}

/**
 * Like `placeOfDirectory` for the directory of a file. In a directory that others may write, a link in the file's place
 * is followed only if it is root's and the directory is sticky.
 */
export async function placeOfFile(path: string): Promise<Place> {
  return await walk(path, true);
}

async function walk(path: string, isFile: boolean): Promise<Place> {
  let here = TOP;
  let rest = namesOf(resolve(path));
  let isPastLink = false;
  for (let links = 0; ; ) {
    const [name, ...more] = rest;
    if (name === undefined) return rootsPlace(here, isPastLink ? here.path : path);
    const next = name === '..' ? join(here.path, '..') : join(here.path, name);
    const isLast = isFile && more.length === 0 && name !== '..';
    const facts = await lstat(next).catch((error: unknown) => {
      if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return { error };
      throw error;
    });
    if (isLast) {
      const isLink = !('error' in facts) && facts.isSymbolicLink();
      const isGood = !('error' in facts) && (!here.othersWrite || (here.isSticky && facts.uid === 0));
      if (!isLink || !isGood || links >= MOST_LINKS) return { ...rootsPlace(here, isPastLink ? next : path), isLink };
      isPastLink = true;
    } else {
      if (!('error' in facts) && facts.uid !== 0) {
        const owner = { uid: facts.uid, gid: facts.gid, isShared: false };
        return { ...rootsPlace(here, isPastLink ? [next, ...more].join('/') : path), owner };
      }
      if (here.othersWrite && !here.isSticky && name !== '..') throw movable(next, here);
      if ('error' in facts) {
        return { ...rootsPlace(here, path), absent: here.othersWrite ? facts.error : undefined };
      }
    }
    rest = more;
    if (facts.isSymbolicLink() && links < MOST_LINKS) {
      links += 1;
      const target = await readlink(next);
      if (target.startsWith('/')) here = TOP;
      rest = [...namesOf(target), ...more];
    } else {
      const othersWrite = (facts.mode & OTHERS_MAY_WRITE) !== 0;
      here = { path: next, othersWrite, isSticky: (facts.mode & STICKY) !== 0 };
    }
  }
}

function rootsPlace({ othersWrite, isSticky }: Directory, path: string): Place {
  return { owner: { uid: 0, gid: 0, isShared: othersWrite && !isSticky }, path, isLink: false, absent: undefined };
}

function movable(path: string, { path: parent }: Directory): KeyError {
  const text = `others may rename ${path}, and put what they like in its place: they may write ${parent}`;
  return new KeyError('STORE_UNAVAILABLE', text, { hint: `chmod go-w ${parent}` });
}

function namesOf(path: string): readonly string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}
