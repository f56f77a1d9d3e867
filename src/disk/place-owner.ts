/** Whose a place in the file system is, as root must see it. */
import { lstat, readlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { KeyError, systemErrorCode } from '../errors.ts';

export interface PlaceOwner {
  readonly uid: number;
  /** Of what was found to be theirs: not always a group that they are in. */
  readonly gid: number;
  /** It is root's, and others may put something into it, and take away what is not theirs. */
  readonly isShared: boolean;
}

export interface Place {
  /** Of the directory. */
  readonly owner: PlaceOwner;
  /** Of a file: past the links in its place that may be followed. */
  readonly path: string;
  /** There is one that may not. */
  readonly isLink: boolean;
  /** Others may put a directory where there is none on the way: the error of who looked. */
  readonly absent: unknown;
}

/** A directory of root's on the way. */
interface Directory {
  readonly path: string;
  readonly othersWrite: boolean;
  readonly isSticky: boolean;
}

const TOP: Directory = { path: '/', othersWrite: false, isSticky: false };
const OTHERS_MAY_WRITE = 0o022;
const STICKY = 0o1000;
/** Linux gives up after as many. */
const MOST_LINKS = 40;

/**
 * The first user other than root who owns a directory or a symbolic link on the way to it: whoever that is can lead the
 * rest of the way elsewhere, at any moment. Of what is not there yet, the way to it counts.
 * @throws KeyError STORE_UNAVAILABLE where anybody else can; the system's errors as they come
 */
export async function ownerOfPlace(path: string): Promise<PlaceOwner> {
  return (await placeOfDirectory(path)).owner;
}

/** As `ownerOfPlace`. */
export async function placeOfDirectory(path: string): Promise<Place> {
  return await walk(path, false);
}

/**
 * Likewise of the directory of a file. In a directory that others may write, a link in its place is followed if it is
 * root's and stays that.
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
