/** Another thread reads thousands of small files before they are needed. */
import { Worker } from 'node:worker_threads';

/** Files of one entry, in the order of the request's endings; undefined: the caller reads the file itself. */
export type FilesOfEntry = readonly (Buffer | undefined)[];

/** Files read in advance. Never fails: a caller that reads a file itself sees the error. */
export interface ReadAhead {
  /**
   * Returns the whole files of an entry, once; a promise where the thread is reading them. Undefined: the thread does not
   * read them, because the caller came first.
   */
  take(entry: string): FilesOfEntry | Promise<FilesOfEntry | undefined> | undefined;
  close(): void;
}

export interface ReadAheadRequest {
  readonly directory: string;
  /** Names in the order in which they will be taken. */
  readonly entries: readonly string[];
  /** The files of an entry have its name with one of these after it. */
  readonly endings: readonly string[];
  readonly maxBytes: number;
  /** The most entries that may wait to be taken. */
  readonly window: number;
}

/** A message from the thread. */
interface Batch {
  /** Index of each entry. */
  readonly indices: readonly number[];
  /** The length of each file in bytes; -1: the caller must read it itself. */
  readonly lengths: readonly number[];
  /** The contents of the files, one after the other. */
  readonly bytes: ArrayBuffer;
}

/** Entries between two wake-ups of the thread: a wake-up is expensive and not urgent. */
const WAKE_EVERY = 128;

export function startReadAhead(request: ReadAheadRequest): ReadAhead {
  const { entries, endings } = request;
  // The first number counts entries that were taken. Each entry then has one that whoever reads its files sets first.
  const shared = new Int32Array(new SharedArrayBuffer((1 + entries.length) * Int32Array.BYTES_PER_ELEMENT));
  const indices = new Map(entries.map((entry, index) => [entry, index]));
  const found = new Map<number, FilesOfEntry>();
  const waiting = new Map<number, (files: FilesOfEntry | undefined) => void>();
  let isOver = false;
  const end = (): void => {
    isOver = true;
    for (const resolve of waiting.values()) resolve(undefined);
    waiting.clear();
  };
  const receive = (batch: Batch): void => {
    if (isOver) return;
    let [at, file] = [0, 0];
    for (const index of batch.indices) {
      const files = endings.map(() => {
        const length = batch.lengths[file++] ?? -1;
        if (length < 0) return undefined;
        at += length;
        return Buffer.from(batch.bytes, at - length, length);
      });
      const resolve = waiting.get(index);
      waiting.delete(index);
      if (resolve === undefined) found.set(index, files);
      else resolve(files);
    }
  };
  const thread = startThread(request, shared, receive, end);
  return {
    take: (entry) => {
      const index = indices.get(entry);
      if (index === undefined) return undefined;
      indices.delete(entry);
      if (Atomics.add(shared, 0, 1) % WAKE_EVERY === 0) Atomics.notify(shared, 0);
      if (Atomics.exchange(shared, 1 + index, 1) === 0) return undefined;
      const files = found.get(index);
      found.delete(index);
      if (files !== undefined || isOver) return files;
      return new Promise((resolve) => void waiting.set(index, resolve));
    },
    close: () => {
      indices.clear();
      found.clear();
      end();
      void thread?.terminate();
    },
  };
}

/** Returns undefined when the system cannot start a thread: the caller then reads every file itself. */
function startThread(
  request: ReadAheadRequest,
  shared: Int32Array,
  receive: (batch: Batch) => void,
  ended: () => void,
): Worker | undefined {
  try {
    // The thread is started from its source text, because a single-file executable has no other file to start.
    const thread = new Worker(`(${readFiles.toString()})(require)`, { eval: true, workerData: { request, shared } });
    thread.on('message', receive);
    thread.on('error', () => undefined);
    thread.on('exit', ended);
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
  const { request, shared }: { request: ReadAheadRequest; shared: Int32Array } = workerData;
  const { directory, entries, endings, maxBytes, window } = request;
  const entriesAtOnce = 64;
  const bytes = Buffer.alloc((maxBytes + 1) * entriesAtOnce * endings.length);

  const read = (file: string, at: number): number => {
    let descriptor = -1;
    try {
      descriptor = openSync(`${directory}/${file}`, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
      const found = fstatSync(descriptor);
      if (!found.isFile()) return -1;
      const length = readSync(descriptor, bytes, at, maxBytes + 1, null);
      // A file system in user space may return fewer bytes per read than the file has.
      const isEnd = length === found.size || readSync(descriptor, bytes, at + length, 1, null) === 0;
      const isWhole = length <= maxBytes && isEnd;
      return isWhole ? length : -1;
    } catch {
      return -1;
    } finally {
      if (descriptor >= 0) closeSync(descriptor);
    }
  };

  for (let from = 0; from < entries.length; from += entriesAtOnce) {
    const until = Math.min(from + entriesAtOnce, entries.length);
    let seen = Atomics.load(shared, 0);
    while (until - seen > window) {
      Atomics.wait(shared, 0, seen);
      seen = Atomics.load(shared, 0);
    }
    let at = 0;
    const indices: number[] = [];
    const lengths: number[] = [];
    for (let index = from; index < until; index += 1) {
      // The caller was faster, and reads the files of this entry itself.
      if (Atomics.exchange(shared, 1 + index, 1) !== 0) continue;
      indices.push(index);
      for (const ending of endings) {
        const length = read(`${entries[index]}${ending}`, at);
        lengths.push(length);
        at += Math.max(length, 0);
      }
    }
    if (indices.length === 0) continue;
    const message = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + at);
    parentPort?.postMessage({ indices, lengths, bytes: message }, [message]);
  }
}
