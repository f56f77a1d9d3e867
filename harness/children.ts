import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Tells whether the process has ended, including a zombie: in a container its status may not have been read yet. */
export function hasEnded(pid: number): boolean {
  const file = `/proc/${pid}/stat`;
  return !existsSync(file) || readFileSync(file, 'utf8').includes(') Z ');
}

/** Process ids of the children of every thread. */
export function childrenOf(pid: number): number[] {
  const children: number[] = [];
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const text = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim();
    if (text !== '') children.push(...text.split(' ').map(Number));
  }
  return children;
}

/** Milliseconds; a thread in a system call that waits for a file system which does not answer is not stopped before. */
const PATIENCE_MS = 10_000;

/**
 * Stops the process. Resolves when each of its threads has stopped or ended, or after ten seconds.
 * @throws Error when there is no such process
 */
export async function stopThreads(pid: number): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  process.kill(pid, 'SIGSTOP');
  while (!threadStates(pid).every((state) => 'TtZX'.includes(state)) && performance.now() < endMs) await sleep(1);
}

/** The states of its threads, a letter each: proc_pid_stat(5). */
function threadStates(pid: number): string[] {
  const file = `/proc/${pid}/task`;
  if (!existsSync(file)) return [];
  return readdirSync(file).flatMap((task) => {
    try {
      return /\) (\S) [^)]*$/.exec(readFileSync(`${file}/${task}/stat`, 'utf8'))?.[1] ?? [];
    } catch {
      // The thread has just ended.
      return [];
    }
  });
}
