/** Threads that read files for an audit, beside the calling thread. */
import { Worker } from 'node:worker_threads';
import { nextTurn } from '../next-turn.ts';
import type { Examined } from './examine.ts';
import type { FileJob, FromThread } from './messages.ts';

/** When other threads read files as well. */
export interface ThreadUse {
  /** Bytes of large files that the calling thread reads before it starts others. */
  readonly afterBytes: number;
  /** Bytes of a large file. The calling thread reads the smaller ones. */
  readonly largeBytes: number;
  start(): FileThreads;
}

/** The text of the threads' program. Put in by the build. */
declare const AUDIT_THREAD: string | undefined;

export interface FileThreads {
  /**
   * Reads a file, in a thread or here, whichever is free first.
   * @param job undefined: only the calling thread can read the file
   * @param here reads the file in the calling thread, which reads one at a time, in the order of the calls
   * @throws what `here` throws, and the system's errors as they come
   */
  examine(job: FileJob | undefined, here: () => Promise<Answer>, advance: (bytes: number) => void): Promise<Answer>;
  /** Ends the threads, also while they read. */
  close(): Promise<void>;
}

type Answer = Examined | undefined;

interface Task {
  readonly job: FileJob | undefined;
  here(): Promise<Answer>;
  advance(bytes: number): void;
  resolve(examined: Answer): void;
  reject(reason: unknown): void;
}

/** Files that a thread has: that which it reads, and the next, so that it need not wait for the calling thread. */
const FILES_OF_A_THREAD = 2;

/**
 * @param count threads beside the calling one
 * @param start starts one thread, and may throw
 */
export function startFileThreads(count: number, start: () => Worker = startThread): FileThreads {
  const queue: Task[] = [];
  const given = new Map<Worker, Task[]>();
  let reading: Promise<void> | undefined;
  const give = (): void => {
    for (const [worker, tasks] of given)
      while (tasks.length < FILES_OF_A_THREAD) {
        const next = queue.findIndex(({ job }) => job !== undefined);
        const [task] = next < 0 ? [] : queue.splice(next, 1);
        if (task?.job === undefined) break;
        tasks.push(task);
        send(worker, task.job);
      }
  };
  const readHere = async (): Promise<void> => {
    // The caller of this function knows that it runs.
    await nextTurn();
    for (let task = queue.shift(); task !== undefined; task = queue.shift()) {
      await task.here().then(task.resolve, task.reject);
      // The messages of the threads are heard between the files.
      await nextTurn();
    }
    reading = undefined;
  };
  const add = (...tasks: readonly Task[]): void => {
    queue.unshift(...tasks);
    give();
    reading ??= readHere();
  };
  /** The calling thread reads again what a thread that ended had. */
  const lose = (worker: Worker): void => {
    const tasks = given.get(worker) ?? [];
    given.delete(worker);
    add(...tasks);
  };
  const hear = (worker: Worker, message: FromThread): void => {
    const tasks = given.get(worker) ?? [];
    if (message.kind === 'read') {
      tasks[0]?.advance(message.bytes);
      return;
    }
    const task = tasks.shift();
    if (message.kind === 'done') task?.resolve(message.examined);
    else task?.reject(Object.assign(new Error(message.message), { code: message.code }));
    give();
  };
  for (const worker of startAll(count, start)) {
    given.set(worker, []);
    worker.on('message', (message: FromThread) => hear(worker, message));
    worker.on('error', () => lose(worker));
    worker.on('exit', () => lose(worker));
  }
  return {
    examine: (job, here, advance) =>
      new Promise((resolve, reject) => {
        queue.push({ job, here, advance, resolve, reject });
        add();
      }),
    close: async () => {
      queue.splice(0);
      const workers = [...given.keys()];
      given.clear();
      await Promise.all([reading, ...workers.map((worker) => worker.terminate())]);
    },
  };
}

/** Starts as many threads as the system allows. */
function startAll(count: number, start: () => Worker): readonly Worker[] {
  const started: Worker[] = [];
  try {
    while (started.length < count) started.push(start());
  } catch {
    // Those that were started suffice, and with none the caller reads.
  }
  return started;
}

function startThread(): Worker {
  // The thread needs nothing of the environment, which may have credentials.
  return typeof AUDIT_THREAD === 'string'
    ? new Worker(AUDIT_THREAD, { eval: true, env: {} })
    : new Worker(new URL('./thread.ts', import.meta.url), { env: {} });
}

function send(worker: Worker, job: FileJob): void {
  worker.postMessage(job);
}
