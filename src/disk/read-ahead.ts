/** Another thread reads thousands of small files before they are needed. */
import { Worker } from 'node:worker_threads';

/**
 * Files read in advance. Never waits and never fails: a caller that gets undefined reads the file itself and sees the
 * error.
 */
export interface ReadAhead {
  /**
   * Returns the whole file, once. Undefined: the thread has not read it yet, or it is no regular file of a valid size.
   */
  take(file: string): Buffer | undefined;
  close(): void;
}

export interface ReadAheadRequest {
  readonly directory: string;
  /** File names in the order in which they will be taken. */
  readonly files: readonly string[];
  readonly maxBytes: number;
  /** The most files that may wait to be taken. */
  readonly window: number;
}

/** A message from the thread. */
interface Batch {
  /** Index of the first file in the request. */
  readonly from: number;
  /** The length of each file in bytes; -1: the caller must read it itself. */
  readonly lengths: readonly number[];
  /** The contents of the files, one after the other. */
  readonly bytes: ArrayBuffer;
}

/** Files between two wake-ups of the thread: a wake-up is expensive and not urgent. */
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

/** Returns undefined when the system cannot start a thread: the caller then reads every file itself. */
function startThread(
  request: ReadAheadRequest,
  taken: Int32Array,
  receive: (batch: Batch) => void,
): Worker | undefined {
  try {
    // The thread is started from its source text, because a single-file executable has no other file to start.
    const thread = new Worker(`(${readFiles.toString()})(require)`, { eval: true, workerData: { request, taken } });
    thread.on('message', receive);
    thread.on('error', () => undefined);
    thread.unref();
    return thread;
  } catch {
    return undefined;
  }
}

/** The code of the thread. It is compiled anew there, so it cannot use anything from this module. */
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
      // A file system in user space may return fewer bytes per read than the file has.
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
