import type { Clock, Random } from '../clock.ts';

/** Exponential back-off with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"). */
const BASE_MS = 100;
const CAP_MS = 5_000;

/** Milliseconds before attempt `attempt` + 1, with `attempt` counting from 1. */
export function backoffMs(attempt: number, random: Random): number {
  return random() * Math.min(CAP_MS, BASE_MS * 2 ** Math.min(attempt, 16));
}

/** A moment on the monotonic clock, with a signal that is aborted when it comes. */
export interface Deadline {
  readonly atMs: number;
  readonly totalMs: number;
  readonly signal: AbortSignal;
  /** Stops the timer. */
  cancel(): void;
}

export function startDeadline(clock: Clock, totalMs: number, parent?: AbortSignal): Deadline {
  const controller = new AbortController();
  const timer = new AbortController();
  const signal = parent === undefined ? controller.signal : AbortSignal.any([controller.signal, parent]);
  clock.sleep(totalMs, timer.signal).then(
    () => controller.abort(new Error(`the ${totalMs / 1000} s allowed have passed`)),
    () => undefined,
  );
  return { atMs: clock.monotonicMs() + totalMs, totalMs, signal, cancel: () => timer.abort() };
}
