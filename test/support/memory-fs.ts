import { constants } from 'node:fs';
import type { Access, FileSystem, OpenFile } from '../../src/disk/file-system.ts';

export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}

const ROOT_ONLY = { uid: 0, gid: 0, mode: 0o600 };

interface MemoryFile {
  bytes: Buffer;
  synced: boolean;
}

/** Files in memory, enough for a key directory. `failures` makes a call fail; `before` is called before each call. */
export class MemoryFs implements FileSystem {
  readonly files = new Map<string, MemoryFile>();
  /** Directory entries that survive a power loss. */
  durable = new Map<string, MemoryFile>();
  before: (call: string, path: string) => void = () => undefined;

  /** A copy of the files after a power loss. */
  afterPowerLoss(): MemoryFs {
    const left = new MemoryFs();
    for (const [path, file] of this.durable) {
      if (this.files.has(path))
        left.files.set(path, { bytes: file.synced ? file.bytes : Buffer.alloc(0), synced: true });
    }
    return left;
  }

  async open(path: string, flags: number): Promise<OpenFile> {
    this.#enter('open', path);
    if ((flags & constants.O_DIRECTORY) !== 0) return this.#directory(path);
    if ((flags & constants.O_CREAT) !== 0) {
      if (this.files.has(path)) throw systemError('EEXIST');
      this.files.set(path, { bytes: Buffer.alloc(0), synced: false });
    }
    const file = this.files.get(path);
    if (file === undefined) throw systemError('ENOENT');
    return {
      writeFile: async (bytes) => {
        this.#enter('write', path);
        file.bytes = Buffer.concat([file.bytes, bytes]);
      },
      readFile: async () => {
        this.#enter('read', path);
        return Buffer.from(file.bytes);
      },
      stat: async () => ({ isFile: () => true, size: file.bytes.length, ...ROOT_ONLY }),
      chown: async () => this.#enter('chown', path),
      chmod: async () => this.#enter('chmod', path),
      sync: async () => {
        this.#enter('fsync', path);
        file.synced = true;
      },
      close: async () => this.#enter('close', path),
    };
  }

  #directory(path: string): OpenFile {
    const refuse = async (): Promise<never> => {
      throw systemError('EISDIR');
    };
    return {
      writeFile: refuse,
      readFile: refuse,
      stat: async () => ({ isFile: () => false, size: 0, ...ROOT_ONLY }),
      chown: refuse,
      chmod: refuse,
      sync: async () => {
        this.#enter('fsync-directory', path);
        const others = [...this.durable].filter(([file]) => !isIn(path, file));
        this.durable = new Map([...others, ...[...this.files].filter(([file]) => isIn(path, file))]);
      },
      close: async () => undefined,
    };
  }

  async readdir(path: string): Promise<string[]> {
    this.#enter('readdir', path);
    const below = [...this.files.keys()].filter((file) => file.startsWith(`${path}/`));
    return [...new Set(below.map((file) => file.slice(path.length + 1).replace(/\/.*$/s, '')))];
  }

  async link(existing: string, path: string): Promise<void> {
    this.#enter('link', path);
    const file = this.files.get(existing);
    if (file === undefined) throw systemError('ENOENT');
    if (this.files.has(path)) throw systemError('EEXIST');
    this.files.set(path, file);
  }

  async rename(existing: string, path: string): Promise<void> {
    this.#enter('rename', path);
    const file = this.files.get(existing);
    if (file === undefined) throw systemError('ENOENT');
    this.files.set(path, file);
    this.files.delete(existing);
  }

  async unlink(path: string): Promise<void> {
    this.#enter('unlink', path);
    if (!this.files.delete(path)) throw systemError('ENOENT');
  }

  async rmdir(path: string): Promise<void> {
    this.#enter('rmdir', path);
  }

  async mkdir(path: string): Promise<void> {
    this.#enter('mkdir', path);
  }

  async stat(path: string): Promise<{ mtimeMs: number } & Access> {
    this.#enter('stat', path);
    if (!this.files.has(path)) throw systemError('ENOENT');
    return { mtimeMs: 0, ...ROOT_ONLY };
  }

  async uidAt(): Promise<number> {
    return 0;
  }

  readNow(path: string, into: Uint8Array): number {
    this.#enter('read-now', path);
    const file = this.files.get(path);
    if (file === undefined) throw systemError('ENOENT');
    into.set(file.bytes.subarray(0, into.length));
    return Math.min(file.bytes.length, into.length);
  }

  #enter(call: string, path: string): void {
    this.before(call, path);
  }
}

function isIn(directory: string, path: string): boolean {
  return path.startsWith(`${directory}/`) && !path.slice(directory.length + 1).includes('/');
}
