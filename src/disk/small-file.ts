import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

/** Flags for reading: opening a FIFO does not block, and opening a terminal does not make it this process's own. */
export const READ_ONLY: number = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/** The limit for text files that people write. */
export const MOST_TEXT_BYTES = 1_048_576;
/** The device number of /dev/null on Linux: a path to it means that there is no such file. */
const NULL_DEVICE = 0x103;

/**
 * Reads a regular file. Neither a FIFO without a writer, nor a device, nor an endless file blocks the caller or fills
 * memory.
 * @throws the system's errors as they come, and one with the code `NOT_A_FILE` or `EFBIG`
 */
export async function readSmallFile(path: string, most: number = MOST_TEXT_BYTES): Promise<Buffer> {
  const file = await open(path, READ_ONLY);
  try {
    const facts = await file.stat();
    if (facts.isCharacterDevice() && facts.rdev === NULL_DEVICE) return Buffer.alloc(0);
    if (facts.isDirectory()) throw refusal('EISDIR', `${path} is a directory`);
    if (!facts.isFile()) throw refusal('NOT_A_FILE', `${path} is no regular file`);
    if (facts.size > most) throw refusal('EFBIG', `${path} is larger than ${most} bytes`);
    const chunks: Buffer[] = [];
    // The size is not trusted: files of /proc say 0, and others grow.
    for (let read = 0; ; ) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(65_536));
      if (bytesRead === 0) return Buffer.concat(chunks);
      read += bytesRead;
      if (read > most) throw refusal('EFBIG', `${path} is larger than ${most} bytes`);
      chunks.push(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}

function refusal(code: string, message: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code });
}
