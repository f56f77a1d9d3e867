import { join } from 'node:path';
import type { FileSystem } from '../disk/file-system.ts';
import { systemErrorCode } from '../errors.ts';
import { type KeyName, parseFileName } from '../format/key-file-name.ts';
import { type Named, storeUnavailable } from './failures.ts';

/** The directory of retired key files, in the key directory. */
const RETIRED = 'retired';

/** Returns the versions that were retired. @throws KeyError STORE_UNAVAILABLE */
export async function retiredIn(directory: string, fs: FileSystem, named: Named): Promise<readonly KeyName[]> {
  const path = join(directory, RETIRED);
  try {
    const files = (await fs.readdir(path)).map(parseFileName);
    return files.flatMap((file) => (file.kind === 'wrapped-key' ? [file.name] : []));
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT') return [];
    throw storeUnavailable(path, 'list', cause, named);
  }
}
