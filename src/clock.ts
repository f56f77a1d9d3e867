/** Time and randomness, passed in so that tests control them. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. For records and log lines only: it jumps. */
  wallMs(): number;
  /** Monotonic clock, milliseconds. For every duration and deadline. */
  monotonicMs(): number;
  /** Resolves after `ms`, or rejects with the signal's reason as soon as it is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /**
   * Calls back once, after `ms`.
   * @returns what calls that off
   */
  after(ms: number, callBack: () => void): () => void;
}

/** Uniform in [0, 1). */
export type Random = () => number;
