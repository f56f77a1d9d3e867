/** Threads that read pages, each with one range at a time. */
import { Worker } from 'node:worker_threads';
import type { DataKey } from '../../format/encryption-scheme.ts';
import { nextTurn } from '../../next-turn.ts';
import type { FromThread, ToThread } from './messages.ts';
import { type KeysOfVersion, type OpenSpace, OutputError } from './pages.ts';
import { SpaceReader } from './reader.ts';
import type { PagesResult } from './result.ts';

/** The text of the threads' program. Put in by the build. */
declare const PAGES_THREAD: string | undefined;

export interface PageThreads {
  /** The ranges that are read at a time. */
  readonly count: number;
  /**
   * Reads pages of a tablespace.
   * @param file its number among all tablespaces that are read
   * @throws OutputError, and the system's errors of reading as they come
   */
  read(file: number, space: OpenSpace, keys: KeysOfVersion, from: number, to: number): Promise<PagesResult>;
  close(): Promise<void>;
}

/** Reads in the calling thread: for few pages, and where no thread can be started. */
export function callingThread(): PageThreads {
  const reader = new SpaceReader();
  return {
    count: 1,
    read: async (file, space, keys, from, to) => {
      const result = await reader.range(file, space, keys, from, to);
      // Signals are handled between the ranges.
      await nextTurn();
      return result;
    },
    close: async () => reader.end(),
  };
}

interface Job {
  readonly message: Extract<ToThread, { kind: 'range' }>;
  readonly keys: KeysOfVersion;
  resolve(result: PagesResult): void;
  reject(reason: unknown): void;
}

export function startPageThreads(count: number): PageThreads {
  const idle: Worker[] = [];
  const queue: Job[] = [];
  const running = new Map<Worker, Job>();
  const next = (worker: Worker): void => {
    const job = queue.shift();
    if (job === undefined) {
      idle.push(worker);
      return;
    }
    running.set(worker, job);
    send(worker, job.message);
  };
  const end = (worker: Worker, finish: (job: Job) => void): void => {
    const job = running.get(worker);
    running.delete(worker);
    if (job !== undefined) finish(job);
  };
  const workers = Array.from({ length: count }, () => {
    const worker = startThread();
    worker.on('message', (message: FromThread) => {
      const job = running.get(worker);
      if (job === undefined) return;
      if (message.kind === 'keys') {
        job.keys(message.version).then(
          (keys) => answer(worker, message.version, keys),
          // The caller has recorded why.
          () => answer(worker, message.version, []),
        );
        return;
      }
      end(worker, ({ resolve, reject }) => {
        if (message.kind === 'done') resolve(message.result);
        else if (message.isOutput) reject(new OutputError(message.code ?? message.message));
        else reject(Object.assign(new Error(message.message), { code: message.code }));
      });
      next(worker);
    });
    worker.on('error', (error) => end(worker, ({ reject }) => reject(error)));
    worker.on('exit', () => end(worker, ({ reject }) => reject(new Error('a thread ended'))));
    idle.push(worker);
    return worker;
  });
  return {
    count,
    read: (file, space, keys, from, to) =>
      new Promise((resolve, reject) => {
        queue.push({ message: { kind: 'range', file, space, from, to }, keys, resolve, reject });
        const worker = idle.shift();
        if (worker !== undefined) next(worker);
      }),
    close: async () => {
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}

function startThread(): Worker {
  // The thread needs nothing of the environment, which may have credentials.
  return typeof PAGES_THREAD === 'string'
    ? new Worker(PAGES_THREAD, { eval: true, env: {} })
    : new Worker(new URL('./thread.ts', import.meta.url), { env: {} });
}

/** Gives copies of keys away, so that no further copy is made on the way. */
function answer(worker: Worker, version: number, keys: readonly DataKey[]): void {
  const copies = keys.map(({ bytes, algorithm }) => ({ bytes: Uint8Array.from(bytes), algorithm }));
  const message: ToThread = { kind: 'keys', version, keys: copies };
  worker.postMessage(
    message,
    copies.map(({ bytes }) => bytes.buffer),
  );
}

function send(worker: Worker, message: ToThread): void {
  worker.postMessage(message);
}
