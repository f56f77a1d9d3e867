import type { Clock, Random } from '../clock.ts';
import { onAbort } from '../on-abort.ts';

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

/** Ends when its parent does, or when it is told to. */
export interface Child {
  readonly signal: AbortSignal;
  abort(reason: unknown): void;
  /** Lets go of the parent. */
  release(): void;
}

/** By hand: what AbortSignal.any() hangs on a parent that lives long is not given back while it lives. */
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

/** @param parent ends it early */
export function startDeadline(clock: Clock, totalMs: number, parent?: AbortSignal): Deadline {
  const { signal, abort, release } = childOf(parent);
  const timer = new AbortController();
  clock.sleep(totalMs, timer.signal).then(
    () => abort(new Error(`the ${totalMs / 1000} s allowed have passed`)),
    () => undefined,
  );
  const startedMs = clock.monotonicMs();
  return {
    startedMs,
    atMs: startedMs + totalMs,
    signal,
    cancel: () => {
      timer.abort();
      release();
    },
  };
}

/** Work that is told to end after `ms`, or with the parent. */
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
 * The promise, or a rejection as soon as the signal is aborted. A result that comes too late goes to `discard`: not
 * everything that is waited for knows the signal (a credential process does not).
 */
export async function unlessAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal,
  discard: (late: T) => void,
): Promise<T> {
  return await new Promise((resolve, reject) => {
    let isOver = false;
    // Whoever comes first decides: a result is either returned or discarded, never both and never neither.
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
