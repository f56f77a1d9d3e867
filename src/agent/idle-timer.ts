import type { Clock } from '../clock.ts';

/** Calls `onIdle` when no work has been running for `timeoutMs`. */
export class IdleTimer {
  readonly #clock: Clock;
  readonly #timeoutMs: number | undefined;
  readonly #onIdle: () => void;
  /** The number of running pieces of work. */
  #busy = 0;
  #waiting = new AbortController();
  #isClosed = false;

  /** @param timeoutMs undefined: `onIdle` is never called */
  constructor(clock: Clock, timeoutMs: number | undefined, onIdle: () => void) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#onIdle = onIdle;
    this.#restart();
  }

  begin(): void {
    this.#busy += 1;
    this.#waiting.abort();
  }

  /** Call it once for each `begin`. */
  end(): void {
    this.#busy -= 1;
    this.#restart();
  }

  close(): void {
    this.#isClosed = true;
    this.#waiting.abort();
  }

  #restart(): void {
    if (this.#timeoutMs === undefined || this.#busy > 0 || this.#isClosed) return;
    this.#waiting.abort();
    this.#waiting = new AbortController();
    const { signal } = this.#waiting;
    this.#clock.sleep(this.#timeoutMs, signal).then(
      () => {
        if (!signal.aborted) this.#onIdle();
      },
      () => undefined,
    );
  }
}
