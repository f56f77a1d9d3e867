/** The limits of a call. */
export interface CallOptions {
  /**
   * Milliseconds for the call with all its retries, 1 to 2147483647; default 60000. A call that takes longer rejects
   * with TIMEOUT.
   */
  readonly timeoutMs?: number | undefined;
  /** Ends the call early: it then rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}
