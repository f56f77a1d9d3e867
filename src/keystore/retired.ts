/** Versions that were retired: their files lie in a directory of the key directory, and are never deleted. */
import { join } from 'node:path';
import type { FileSystem } from '../disk/file-system.ts';
import { readWhole, syncDirectory } from '../disk/files.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import {
  describeKey,
  type KeyName,
  keyFileName,
  parseFileName,
  RETIRED_DIRECTORY,
  sidecarFileName,
} from '../format/key-file-name.ts';
import { MAX_SIDECAR_BYTES } from '../format/sidecar.ts';
import { type Named, storeUnavailable } from './failures.ts';

/** Returns the versions that were retired. @throws KeyError STORE_UNAVAILABLE */
export async function retiredIn(directory: string, fs: FileSystem, named: Named): Promise<readonly KeyName[]> {
  const path = join(directory, RETIRED_DIRECTORY);
  try {
    const files = (await fs.readdir(path)).map(parseFileName);
    return files.flatMap((file) => (file.kind === 'wrapped-key' ? [file.name] : []));
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT') return [];
    throw storeUnavailable(path, 'list', cause, named);
  }
}

/**
 * Moves the files of a version out of the store. The key file goes first: a sidecar without it belongs to a retired
 * version, and a call that was interrupted can be repeated.
 * @throws KeyError STORE_UNAVAILABLE, KEY_EXISTS
 */
export async function retireFiles(name: KeyName, directory: string, fs: FileSystem, named: Named): Promise<void> {
  const retired = join(directory, RETIRED_DIRECTORY);
  try {
    await fs.mkdir(retired, 0o700).catch((cause: unknown) => {
      if (systemErrorCode(cause) !== 'EEXIST') throw cause;
    });
    await syncDirectory(fs, directory);
    for (const file of [keyFileName(name), sidecarFileName(name)]) await move(name, file, directory, retired, fs);
  } catch (cause) {
    throw told(cause, name, directory, named);
  }
}

/** Moves the files back, in the opposite order. @throws KeyError STORE_UNAVAILABLE, KEY_EXISTS */
export async function restoreFiles(name: KeyName, directory: string, fs: FileSystem, named: Named): Promise<void> {
  const retired = join(directory, RETIRED_DIRECTORY);
  try {
    for (const file of [sidecarFileName(name), keyFileName(name)]) await move(name, file, retired, directory, fs);
  } catch (cause) {
    throw told(cause, name, directory, named);
  }
}

/** The new name is durable before the old one goes, and no file of that name is ever replaced. */
async function move(name: KeyName, file: string, from: string, to: string, fs: FileSystem): Promise<void> {
  const [before, after] = [join(from, file), join(to, file)];
  try {
    await fs.link(before, after);
  } catch (cause) {
    const code = systemErrorCode(cause);
    // Without a sidecar, or moved by an earlier call.
    if (code === 'ENOENT') return;
    if (code !== 'EEXIST') throw cause;
    const [one, other] = await Promise.all([before, after].map((path) => readWhole(fs, path, MAX_SIDECAR_BYTES)));
    if (one === undefined || other?.equals(one) !== true)
      throw new KeyError('KEY_EXISTS', `${describeKey(name)}: ${before} and ${after} are different files`, {
        hint: 'nothing is replaced: find out which of them opens, and move the other away',
      });
  }
  await syncDirectory(fs, to);
  await fs.unlink(before);
  await syncDirectory(fs, from);
}

function told(cause: unknown, name: KeyName, directory: string, named: Named): KeyError {
  return cause instanceof KeyError ? cause : storeUnavailable(directory, `move ${describeKey(name)} in`, cause, named);
}
