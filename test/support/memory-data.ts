import type { DataEntry, DataFiles, OpenDataFile } from '../../src/data/data-files.ts';

/** Files of a server in memory, which count what is read of them. */
export class MemoryData implements DataFiles {
  readonly files = new Map<string, Buffer>();
  readonly links = new Set<string>();
  reads = 0;
  bytesRead = 0;
  openFiles = 0;

  put(path: string, bytes: Buffer): this {
    this.files.set(path, bytes);
    return this;
  }

  list(directory: string): readonly DataEntry[] {
    const names = new Map<string, boolean>();
    for (const path of this.files.keys()) {
      if (!path.startsWith(`${directory}/`)) continue;
      const [name = '', ...deeper] = path.slice(directory.length + 1).split('/');
      names.set(name, deeper.length > 0);
    }
    if (names.size === 0) throw ABSENT;
    return [...names].map(([name, mayBeDirectory]) => ({ name, mayBeDirectory, isLink: false }));
  }

  open(path: string): OpenDataFile {
    const bytes = this.files.get(path);
    if (bytes === undefined) throw ABSENT;
    this.openFiles += 1;
    const readInto = (into: Buffer, offset: number): number => {
      this.reads += 1;
      const got = bytes.copy(into, 0, Math.min(offset, bytes.length));
      this.bytesRead += got;
      return got;
    };
    return {
      readInto,
      read: (offset, length) => {
        const into = Buffer.alloc(Math.min(length, Math.max(0, bytes.length - offset)));
        return into.subarray(0, readInto(into, offset));
      },
      bytes: bytes.length,
      close: () => {
        this.openFiles -= 1;
      },
    };
  }

  isThere(path: string): boolean {
    return this.files.has(path) || [...this.files.keys()].some((file) => file.startsWith(`${path}/`));
  }

  isLink(path: string): boolean {
    return this.links.has(path);
  }
}

/** Made once: a fuzzer asks for many files that are not there. */
const ABSENT = Object.assign(new Error('no such file'), { code: 'ENOENT' });
