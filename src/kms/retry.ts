import type { Clock, Random } from '../clock.ts';
import { onAbort } from '../on-abort.ts';

/** Exponential back-off with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"). */
const BASE_MS = 100;
const CAP_MS = 5_000;

/** Returns the milliseconds before attempt `attempt` + 1, with `attempt` counting from 1. */
export function backoffMs(attempt: number, random: Random): number {
  return random() * Math.min(CAP_MS, BASE_MS * 2 ** Math.min(attempt, 16));
}

/** A moment on the monotonic clock, with a signal that is aborted at that moment. */
export interface Deadline {
  readonly startedMs: number;
  readonly atMs: number;
  readonly signal: AbortSignal;
  /** Stops the timer: the moment does not come until the deadline is restarted. */
  pause(): void;
  /** Sets the moment `totalMs` from now. */
  restart(totalMs: number): void;
  /** Stops the timer, and detaches from the parent. */
  cancel(): void;
}

/** A signal that is aborted with its parent, or on its own. */
export interface Child {
  readonly signal: AbortSignal;
  abort(reason: unknown): void;
  /** Detaches from the parent. */
  release(): void;
}

/** Links the signals by hand: AbortSignal.any() would leak memory on a long-lived parent. */
export function childOf(parent: AbortSignal | undefined): Child {
  const controller = new AbortController();
  const end = (): void => controller.abort(parent?.reason);
  if (parent?.aborted) end();
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    release: parent === undefined ? () => undefined : onAbort(parent, end),
  };
}

/** @param parent ends the deadline early */
export function startDeadline(clock: Clock, totalMs: number, parent?: AbortSignal): Deadline {
  const { signal, abort, release } = childOf(parent);
  let callOff = (): void => undefined;
  let startedMs = 0;
  let atMs = 0;
  const restart = (ms: number): void => {
    callOff();
    startedMs = clock.monotonicMs();
    atMs = startedMs + ms;
    callOff = clock.after(ms, () => abort(new Error(`the ${ms / 1000} s allowed have passed`)));
  };
  restart(totalMs);
  return {
    get startedMs() {
      return startedMs;
    },
    get atMs() {
      return atMs;
    },
    signal,
    pause: () => callOff(),
    restart,
    cancel: () => {
      callOff();
      release();
    },
  };
}

/** Runs work under a signal that is aborted after `ms`, or with the parent. */
export async function within<T>(
  clock: Clock,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
  parent?: AbortSignal,
): Promise<T> {
  const { signal, cancel } = startDeadline(clock, ms, parent);
  try {
    return await work(signal);
  } finally {
    cancel();
  }
}

/**
 * Settles as the promise does, or rejects as soon as the signal is aborted. A late result is passed to `discard`: not
 * every operation knows the signal (a credential process does not).
 */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal, discard: (late: T) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    let isOver = false;
    // The first event decides: a result is either returned or discarded, never both and never neither.
    const isFirst = (): boolean => {
      if (isOver) return false;
      isOver = true;
      release();
      return true;
    };
    const abort = (): void => {
      if (isFirst()) reject(signal.reason);
    };
    const release = onAbort(signal, abort);
    if (signal.aborted) abort();
    promise.then(
      (value) => {
        if (isFirst()) resolve(value);
        else discard(value);
      },
      (error: unknown) => {
        if (isFirst()) reject(error);
      },
    );
  });
}
