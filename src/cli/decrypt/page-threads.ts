import { availableParallelism } from 'node:os';
import { callingThread, type PageThreads, startPageThreads } from '../../decrypt/tablespace/threads.ts';
import type { Surroundings } from '../../server/surroundings.ts';

/** Bytes from which threads pay: starting them takes as long as reading so much. */
const WORTH_THREADS = 33_554_432;
/** More threads wait for the disk. */
const MOST_THREADS = 8;

/** Calls `work` with threads for reading the pages of these files. */
export async function withPageThreads<T>(
  files: readonly string[],
  { files: { stat } }: Surroundings,
  work: (threads: PageThreads) => Promise<T>,
): Promise<T> {
  let bytes = 0;
  for (const file of files)
    bytes += await stat(file).then(
      ({ size }) => size,
      () => 0,
    );
  return bytes < WORTH_THREADS ? await withThreads(callingThread(), work) : await withAllThreads(work);
}

/** Calls `work` with a thread for each processor. */
export async function withAllThreads<T>(work: (threads: PageThreads) => Promise<T>): Promise<T> {
  const count = Math.min(availableParallelism(), MOST_THREADS);
  return await withThreads(count < 2 ? callingThread() : startPageThreads(count), work);
}

async function withThreads<T>(threads: PageThreads, work: (threads: PageThreads) => Promise<T>): Promise<T> {
  try {
    return await work(threads);
  } finally {
    await threads.close();
  }
}
