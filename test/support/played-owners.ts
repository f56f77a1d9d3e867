import { type Access, type FileSystem, nodeFileSystem, type OpenFile } from '../../src/disk/file-system.ts';

type Ids = Pick<Access, 'uid' | 'gid'>;

/**
 * The real file system, whose owners are played: any user may give files away, and files that nobody gave away are
 * root's.
 */
export function playedOwners(): FileSystem {
  const owners = new Map<string, Ids>();
  const ownerOf = (path: string): Ids => owners.get(path) ?? { uid: 0, gid: 0 };
  const played = (file: OpenFile, path: string): OpenFile => ({
    ...file,
    stat: async () => Object.assign(await file.stat(), ownerOf(path)),
    chown: async (uid, gid) => void owners.set(path, { uid, gid }),
  });
  return {
    ...nodeFileSystem,
    open: async (path, flags, mode) => played(await nodeFileSystem.open(path, flags, mode), path),
    stat: async (path) => Object.assign(await nodeFileSystem.stat(path), ownerOf(path)),
    link: async (existing, path) => {
      await nodeFileSystem.link(existing, path);
      owners.set(path, ownerOf(existing));
    },
    rename: async (existing, path) => {
      await nodeFileSystem.rename(existing, path);
      owners.set(path, ownerOf(existing));
    },
  };
}
