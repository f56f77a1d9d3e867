import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsync,
  openSync,
  readSync,
  writeFileSync,
} from 'node:fs';
import { promisify } from 'node:util';
import { type FileSystem, nodeFileSystem, type OpenFile } from './file-system.ts';

const { O_WRONLY, O_RDWR, O_CREAT } = constants;

/**
 * Reads files synchronously in the calling thread: they are small, and reading the two files of each key version by
 * promises would make eight tasks for Node's thread pool, which cost more than the KMS call. Writing and syncing wait
 * for the disk, and use the pool.
 */
export const promptFileSystem: FileSystem = {
  ...nodeFileSystem,
  open: async (path, flags, mode) => {
    const isForReading = (flags & (O_WRONLY | O_RDWR | O_CREAT)) === 0;
    return isForReading ? promptFile(openSync(path, flags)) : await nodeFileSystem.open(path, flags, mode);
  },
};

function promptFile(descriptor: number): OpenFile {
  let size: number | undefined;
  return {
    writeFile: async (bytes) => writeFileSync(descriptor, bytes),
    readFile: async () => {
      // readFileSync() would ask for the size once more.
      const bytes = Buffer.alloc(size ?? fstatSync(descriptor).size);
      let read = 0;
      // A file system in user space may return fewer bytes per read than the file has.
      for (let more = -1; more !== 0 && read < bytes.length; read += more)
        more = readSync(descriptor, bytes, { offset: read });
      return bytes.subarray(0, read);
    },
    stat: async () => {
      const found = fstatSync(descriptor);
      size = found.size;
      return found;
    },
    chown: async (uid, gid) => fchownSync(descriptor, uid, gid),
    chmod: async (mode) => fchmodSync(descriptor, mode),
    sync: () => promisify(fsync)(descriptor),
    close: async () => closeSync(descriptor),
  };
}
