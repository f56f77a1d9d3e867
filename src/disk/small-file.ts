import { constants } from 'node:fs';
import { open } from 'node:fs/promises';

/** Flags to read by: a FIFO in the place of a file holds nobody up, and a terminal there is not made this process's own. */
export const READ_ONLY: number = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/** Of texts that people write. */
export const MOST_TEXT_BYTES = 1_048_576;
/** /dev/null on Linux: how one says that there is no such file. */
const NULL_DEVICE = 0x103;

/**
 * The bytes of a regular file. What is put in its place keeps nobody waiting and fills no memory: a pipe that nobody writes
 * to, a device, a file without end.
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
    // Those of /proc say that they are empty; others grow.
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
