import type { DataFiles, OpenDataFile } from '../data/data-files.ts';
import { openData } from '../data/open-data.ts';
import { nextTurn } from '../next-turn.ts';
import { type DecryptedLog, decryptLog, type LogInput } from './binlog.ts';
import type { DataKeys } from './data-keys.ts';

/** Chunks to read before yielding to the event loop. */
const CHUNKS_A_TURN = 64;

/** Opens a log, which may grow while it is read. @throws KeyError DATA_UNREADABLE */
export function openLog(disk: Pick<DataFiles, 'open'>, path: string): LogInput & { close(): void } {
  const file = openData(disk, path);
  return { ...inputOf(path, file), close: () => file.close() };
}

/** Checks that every event of a log decrypts. @throws KeyError as `decryptLog` does without an output */
export async function verifyBinaryLog(
  path: string,
  file: Pick<OpenDataFile, 'readInto'>,
  keys: Pick<DataKeys, 'candidates' | 'place'>,
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
