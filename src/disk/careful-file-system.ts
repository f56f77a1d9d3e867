import { constants } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { RemoteFileSystem } from './file-service.ts';
import { type FileSystem, nodeFileSystem, type OpenFile } from './file-system.ts';
import { ownerOfPlace, type Place, type PlaceOwner, placeOfDirectory, placeOfFile } from './place-owner.ts';

/** Starts a process that makes file calls with the rights of a user; it ends with this process. */
export type ActAs = (owner: PlaceOwner) => RemoteFileSystem;

/**
 * A file system for commands that root runs. In a directory that another user owns or can redirect, every call is made
 * with the rights of that user: a link then leads only to files that this user may read and write anyway, and new files
 * belong to them. In a directory of root's that others may write, a link in the place of a file is followed only if the
 * directory is sticky and the link is root's.
 */
export class CarefulFileSystem implements FileSystem {
  readonly #actAs: ActAs;
  readonly #services = new Map<number, RemoteFileSystem>();

  constructor(actAs: ActAs) {
    this.#actAs = actAs;
  }

  async open(path: string, flags: number, mode?: number): Promise<OpenFile> {
    const { O_DIRECTORY, O_EXCL, O_NOFOLLOW } = constants;
    if ((flags & O_DIRECTORY) !== 0) return await (await this.#in(path)).open(path, flags, mode);
    if ((flags & (O_EXCL | O_NOFOLLOW)) !== 0) return await (await this.#around(path)).open(path, flags, mode);
    const { owner, path: real } = there(await placeOfFile(path));
    // The path has just been checked: a link put there since then is not followed.
    return await this.#at(owner).open(real, owner.uid === 0 ? flags | O_NOFOLLOW : flags, mode);
  }

  async readdir(path: string): Promise<string[]> {
    return await (await this.#in(path)).readdir(path);
  }

  async mkdir(path: string, mode: number): Promise<void> {
    await (await this.#around(path)).mkdir(path, mode);
  }

  /** Requires both paths to be in one directory. */
  async link(existing: string, path: string): Promise<void> {
    await (await this.#around(path)).link(existing, path);
  }

  /** Requires both paths to be in one directory. */
  async rename(existing: string, path: string): Promise<void> {
    await (await this.#around(path)).rename(existing, path);
  }

  async unlink(path: string): Promise<void> {
    await (await this.#around(path)).unlink(path);
  }

  async rmdir(path: string): Promise<void> {
    await (await this.#around(path)).rmdir(path);
  }

  async stat(path: string): ReturnType<FileSystem['stat']> {
    const { owner, path: real, isLink } = there(await placeOfFile(path));
    if (!isLink) return await this.#at(owner).stat(real);
    throw Object.assign(new Error(`ELOOP: too many symbolic links encountered, stat '${path}'`), { code: 'ELOOP' });
  }

  async uidAt(path: string): Promise<number> {
    return (await ownerOfPlace(path)).uid;
  }

  /** Only the agent reads synchronously, to start fast. */
  readNow(path: string): never {
    throw new Error(`${path}: is not read at once here`);
  }

  /** The owner of an entry's directory decides what the entry is. */
  async #around(path: string): Promise<RemoteFileSystem> {
    return await this.#in(dirname(resolve(path)));
  }

  async #in(directory: string): Promise<RemoteFileSystem> {
    return this.#at(there(await placeOfDirectory(directory)).owner);
  }

  #at(owner: PlaceOwner): RemoteFileSystem {
    if (owner.uid === 0) return nodeFileSystem;
    const service = this.#services.get(owner.uid) ?? this.#actAs(owner);
    this.#services.set(owner.uid, service);
    return service;
  }
}

/**
 * Returns a place that exists.
 * @throws the system's error: entries that others create a moment later are not looked at
 */
function there(place: Place): Place {
  if (place.absent !== undefined) throw place.absent;
  return place;
}
