import type { DataFiles, OpenDataFile } from '../data/data-files.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { nextTurn } from '../next-turn.ts';
import { type DecryptedLog, decryptLog, type LogInput } from './binlog.ts';
import type { DataKeys } from './data-keys.ts';

/** Chunks to read before yielding to the event loop. */
const CHUNKS_A_TURN = 64;

/** Opens a log, which may grow while it is read. @throws KeyError DATA_UNREADABLE */
export function openLog(disk: Pick<DataFiles, 'open'>, path: string): LogInput & { close(): void } {
  const file = open(disk, path);
  return { ...inputOf(path, file), close: () => file.close() };
}

/** Checks that every event of a log decrypts. @throws KeyError as `decryptLog` does without an output */
export async function verifyBinaryLog(
  path: string,
  file: Pick<OpenDataFile, 'readInto'>,
  keys: DataKeys,
  signal: AbortSignal,
): Promise<DecryptedLog> {
  return await decryptLog(inputOf(path, file), keys, undefined, signal);
}

function inputOf(name: string, { readInto }: Pick<OpenDataFile, 'readInto'>): LogInput {
  let [offset, chunks] = [0, 0];
  return {
    name,
    read: async (into) => {
      chunks += 1;
      if (chunks % CHUNKS_A_TURN === 0) await nextTurn();
      const got = readInto(into, offset);
      offset += got;
      return got;
    },
  };
}

function open(disk: Pick<DataFiles, 'open'>, path: string): OpenDataFile {
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
