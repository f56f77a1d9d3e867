/** Whose a place in the file system is, as root must see it. */
import { lstat, readlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { systemErrorCode } from '../errors.ts';

export interface PlaceOwner {
  readonly uid: number;
  /** Of what was found to be theirs: not always a group that they are in. */
  readonly gid: number;
  /** It is root's, and others may put something into it. */
  readonly isShared: boolean;
}

const ROOT: PlaceOwner = { uid: 0, gid: 0, isShared: false };
const OTHERS_MAY_WRITE = 0o022;
const STICKY = 0o1000;
/** Linux gives up after as many. */
const MOST_LINKS = 40;

/**
 * The first user other than root who owns a directory or a symbolic link on the way to it: whoever that is can lead the
 * rest of the way elsewhere, at any moment. Of what is not there yet, the way to it counts.
 * @throws the system's errors as they come
 */
export async function ownerOfPlace(path: string): Promise<PlaceOwner> {
  let here = '/';
  let rest = namesOf(resolve(path));
  let owner = ROOT;
  for (let links = 0; ; ) {
    const [name, ...more] = rest;
    if (name === undefined) return owner;
    const next = name === '..' ? join(here, '..') : join(here, name);
    const facts = await lstat(next).catch((error: unknown) => {
      if (['ENOENT', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined;
      throw error;
    });
    if (facts === undefined) return owner;
    if (facts.uid !== 0) return { uid: facts.uid, gid: facts.gid, isShared: false };
    rest = more;
    if (facts.isSymbolicLink() && links < MOST_LINKS) {
      links += 1;
      const target = await readlink(next);
      if (target.startsWith('/')) here = '/';
      rest = [...namesOf(target), ...more];
    } else {
      here = next;
      owner = { ...ROOT, isShared: (facts.mode & OTHERS_MAY_WRITE) !== 0 && (facts.mode & STICKY) === 0 };
    }
  }
}

function namesOf(path: string): readonly string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}
