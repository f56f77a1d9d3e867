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
  readonly startedMs: number;
  readonly atMs: number;
  readonly signal: AbortSignal;
  /** Stops the timer, and lets go of the parent. */
  cancel(): void;
}

/** @param parent ends it early */
export function startDeadline(clock: Clock, totalMs: number, parent?: AbortSignal): Deadline {
  const controller = new AbortController();
  const timer = new AbortController();
  // By hand: what AbortSignal.any() hangs on a parent that lives long is not given back while it lives.
  const end = (): void => controller.abort(parent?.reason);
  if (parent?.aborted) end();
  parent?.addEventListener('abort', end, { once: true });
  clock.sleep(totalMs, timer.signal).then(
    () => controller.abort(new Error(`the ${totalMs / 1000} s allowed have passed`)),
    () => undefined,
  );
  const startedMs = clock.monotonicMs();
  return {
    startedMs,
    atMs: startedMs + totalMs,
    signal: controller.signal,
    cancel: () => {
      timer.abort();
      parent?.removeEventListener('abort', end);
    },
  };
}

/**
 * The promise, or a rejection as soon as the signal is aborted. A result that comes too late goes to `discard`: not
 * everything that is waited for knows the signal (a credential process does not).
 */
export async function unlessAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal,
  discard: (late: T) => void,
): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  let settled = false;
  promise.then(
    (value) => {
      if (settled) discard(value);
    },
    () => undefined,
  );
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    settled = true;
    signal.removeEventListener('abort', abort);
  }
}
