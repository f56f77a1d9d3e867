/** Files on a disk for readers that open paths themselves. */
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmdirSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Memory where the system has such a place: on a disk an execution takes six times as long. */
const SCRATCH = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/**
 * Writes files into a new directory, and removes it after the work.
 * @param work returns the paths of the files that it has made
 * @throws Error when the work leaves a file open, or another file behind
 */
export async function withFiles(
  files: Iterable<readonly [path: string, bytes: Buffer]>,
  work: (directory: string) => Promise<readonly string[]>,
): Promise<void> {
  const directory = mkdtempSync(join(SCRATCH, 'mak-fuzz-'));
  try {
    const folders = new Set<string>();
    const written: string[] = [];
    for (const [path, bytes] of files) {
      const file = join(directory, path);
      const folder = dirname(file);
      if (folder !== directory && !folders.has(folder)) mkdirSync(folder);
      if (folder !== directory) folders.add(folder);
      writeFileSync(file, bytes);
      written.push(file);
    }
    const free = nextDescriptor();
    const made = await work(directory);
    if (nextDescriptor() !== free) throw new Error('a file is still open');
    for (const file of [...written, ...made]) unlinkSync(file);
    // Fails for a directory with other files.
    for (const folder of [...folders, directory]) rmdirSync(folder);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Descriptors are given anew from the lowest that is free. */
function nextDescriptor(): number {
  const descriptor = openSync('/dev/null', 'r');
  closeSync(descriptor);
  return descriptor;
}
