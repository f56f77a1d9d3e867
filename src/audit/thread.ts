/** The main module of a thread that reads files for an audit. */
import { parentPort } from 'node:worker_threads';
import { readersOf } from '../data/data-files.ts';
import { systemErrorCode } from '../errors.ts';
import { stopFor } from '../stop-for.ts';
import { examinePages } from './examine.ts';
import type { Readable } from './found.ts';
import type { FileJob, FromThread, SharedFile } from './messages.ts';
import { CHUNK_BYTES } from './tablespace.ts';

const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
/** The thread is ended from outside. */
const { signal } = new AbortController();

parentPort?.on('message', (job: FileJob) => void examine(job));

async function examine({ kind, file, data, checksums }: FileJob): Promise<void> {
  try {
    const examined = await examinePages(kind, readable(file), data && readable(data), {
      sleep: async (ms) => stopFor(ms),
      signal,
      checksums,
      advance: (bytes) => send({ kind: 'read', bytes }),
      chunk,
    });
    send({ kind: 'done', examined });
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    send({ kind: 'failed', code: systemErrorCode(thrown), message });
  }
}

function readable({ descriptor, bytes }: SharedFile): Readable {
  return { ...readersOf(descriptor), bytes };
}

function send(message: FromThread): void {
  parentPort?.postMessage(message);
}
