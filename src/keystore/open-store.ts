import type { Disk } from '../disk/file-system.ts';
import { KeyDirectory } from './directory.ts';
import { KEYS_OF_SERVER, type Named } from './failures.ts';
import type { KeyStore } from './store.ts';

/** Opens the store of a server's keys. Only this function decides its kind; a backup is always a directory. */
export function openStore(place: string, disk: Disk, named: Named = KEYS_OF_SERVER): KeyStore {
  const { fileSystem, clock, random } = disk;
  return new KeyDirectory(place, fileSystem, clock, random, named);
}
