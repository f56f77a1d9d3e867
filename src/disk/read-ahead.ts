/** Thousands of small files, read by another thread before they are asked for. */
import { Worker } from 'node:worker_threads';

/** Never waits and never fails: who gets nothing reads the file himself, and learns what is wrong with it. */
export interface ReadAhead {
  /** The whole file, once; undefined: it was not come to yet, or it is not what was expected. */
  take(file: string): Buffer | undefined;
  close(): void;
}

export interface ReadAheadRequest {
  readonly directory: string;
  /** In the order in which they will be asked for. */
  readonly files: readonly string[];
  readonly maxBytes: number;
  /** At most so many files wait to be taken. */
  readonly window: number;
}

/** What the thread sends. */
interface Batch {
  /** Index of the first file in the request. */
  readonly from: number;
  /** Of each file; -1: whoever asks for it is to look himself. */
  readonly lengths: readonly number[];
  /** Those of the files, one after the other. */
  readonly bytes: ArrayBuffer;
}

/** To wake a thread is dear, and it need not be soon. */
const WAKE_EVERY = 256;

export function startReadAhead(request: ReadAheadRequest): ReadAhead {
  const taken = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const wanted = new Set(request.files);
  const found = new Map<string, Buffer>();
  const thread = startThread(request, taken, ({ from, lengths, bytes }) => {
    let at = 0;
    for (const [index, length] of lengths.entries()) {
      const file = request.files[from + index] ?? '';
      if (length < 0) continue;
      if (wanted.has(file)) found.set(file, Buffer.from(bytes, at, length));
      at += length;
    }
  });
  return {
    take: (file) => {
      if (!wanted.delete(file)) return undefined;
      if (Atomics.add(taken, 0, 1) % WAKE_EVERY === 0) Atomics.notify(taken, 0);
      const bytes = found.get(file);
      found.delete(file);
      return bytes;
    },
    close: () => {
      wanted.clear();
      found.clear();
      void thread?.terminate();
    },
  };
}

/** Undefined when the system has no thread for us: everything is read all the same. */
function startThread(
  request: ReadAheadRequest,
  taken: Int32Array,
  receive: (batch: Batch) => void,
): Worker | undefined {
  try {
    // Its text, and not a file: an executable that is one file has no other.
    const thread = new Worker(`(${readFiles.toString()})(require)`, { eval: true, workerData: { request, taken } });
    thread.on('message', receive);
    thread.on('error', () => undefined);
    thread.unref();
    return thread;
  } catch {
    return undefined;
  }
}

/** The thread. Its text is compiled anew there: it sees nothing of this module. */
function readFiles(require: NodeJS.Require): void {
  const { parentPort, workerData }: typeof import('node:worker_threads') = require('node:worker_threads');
  const { closeSync, constants, fstatSync, openSync, readSync }: typeof import('node:fs') = require('node:fs');
  const { request, taken }: { request: ReadAheadRequest; taken: Int32Array } = workerData;
  const { directory, files, maxBytes, window } = request;
  const filesAtOnce = 128;
  const bytes = Buffer.alloc((maxBytes + 1) * filesAtOnce);

  const read = (file: string, at: number): number => {
    let descriptor = -1;
    try {
      descriptor = openSync(`${directory}/${file}`, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
      if (!fstatSync(descriptor).isFile()) return -1;
      const length = readSync(descriptor, bytes, at, maxBytes + 1, null);
      // A file system in user space may give less at once than there is.
      const isWhole = length <= maxBytes && readSync(descriptor, bytes, at + length, 1, null) === 0;
      return isWhole ? length : -1;
    } catch {
      return -1;
    } finally {
      if (descriptor >= 0) closeSync(descriptor);
    }
  };

  for (let from = 0; from < files.length; from += filesAtOnce) {
    const batch = files.slice(from, from + filesAtOnce);
    let seen = Atomics.load(taken, 0);
    while (from + batch.length - seen > window) {
      Atomics.wait(taken, 0, seen);
      seen = Atomics.load(taken, 0);
    }
    let at = 0;
    const lengths = batch.map((file) => {
      const length = read(file, at);
      at += Math.max(length, 0);
      return length;
    });
    const message = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + at);
    parentPort?.postMessage({ from, lengths, bytes: message }, [message]);
  }
}
