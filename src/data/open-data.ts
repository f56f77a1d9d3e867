import { KeyError, systemErrorCode } from '../errors.ts';
import type { DataFiles, OpenDataFile } from './data-files.ts';

/** Opens one file that a person named. @throws KeyError DATA_UNREADABLE */
export function openData(disk: Pick<DataFiles, 'open'>, path: string): OpenDataFile {
  try {
    const file = disk.open(path);
    if (file !== undefined) return file;
  } catch (cause) {
    const code = systemErrorCode(cause);
    if (code === undefined) throw cause;
    throw new KeyError('DATA_UNREADABLE', `${path}: ${code}`, { cause });
  }
  throw new KeyError('DATA_UNREADABLE', `${path}: it is not a regular file`);
}
