/** Runs loads in short turns, so that disturbances of the machine affect all of them alike. */
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

/** A load that continues where it was stopped. It is stopped until its first turn. */
export interface Runner {
  readonly resume: () => void;
  readonly stop: () => void;
  readonly ended: Promise<unknown>;
}

/** Runs them in turns until all have ended; returns the milliseconds that each of them ran. */
export async function takeTurns(runners: readonly Runner[], turnMs: number): Promise<number[]> {
  const spent = runners.map(() => 0);
  const running = new Set(runners.entries());
  for (const entry of running) {
    const leave = (): void => void running.delete(entry);
    entry[1].ended.then(leave, leave);
  }
  while (running.size > 0) {
    for (const [index, { resume, stop, ended }] of running) {
      const start = performance.now();
      resume();
      try {
        await Promise.race([ended, pause(turnMs)]);
      } finally {
        stop();
      }
      spent[index] = (spent[index] ?? 0) + performance.now() - start;
    }
  }
  return spent;
}

/** Returns a command prefix that binds a command to one core: the last one, since systems prefer the first. */
export function onOneCore(): readonly string[] {
  const [, core] = /^Cpus_allowed_list:.*?(\d+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  if (core === undefined) throw new Error('/proc/self/status does not say on which cores this process may run');
  return ['taskset', '--cpu-list', core];
}
