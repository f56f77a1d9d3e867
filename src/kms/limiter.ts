import { onAbort } from '../on-abort.ts';
import { MOST_CALLS_AT_ONCE } from './client.ts';

/** What it begins with: a fleet that starts at once must not spend the account's quota in its first moment. */
const START = 4;
/** Calls that are throttled at the same time count as one sign. */
const DROP_AT_MOST_EVERY_MS = 200;

/**
 * How many KMS calls may be in flight: one more after each success until the first sign of throttling (doubling with each
 * round trip), half as many after each such sign, and from then on one more after as many successes as the limit (slow
 * start, additive increase, multiplicative decrease, as TCP does it).
 */
export class CallLimiter {
  #limit = START;
  #isSlowStart = true;
  #inFlight = 0;
  #successes = 0;
  #droppedMs = Number.NEGATIVE_INFINITY;
  readonly #waiting = new Set<() => void>();
  readonly #nowMs: () => number;

  /** @param nowMs monotonic */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** By throttling. */
  get isHeldBack(): boolean {
    return !this.#isSlowStart;
  }

  get limit(): number {
    return this.#limit;
  }

  /**
   * Runs the call as soon as there is room for it.
   * @throws the signal's reason, when it is aborted before that
   */
  async run<T>(signal: AbortSignal, call: () => Promise<T>): Promise<T> {
    if (this.#inFlight >= this.#limit) await this.#room(signal);
    else this.#inFlight += 1;
    try {
      return await call();
    } finally {
      this.#inFlight -= 1;
      this.#wake();
    }
  }

  succeeded(): void {
    this.#successes += 1;
    if (this.#limit >= MOST_CALLS_AT_ONCE || (!this.#isSlowStart && this.#successes < this.#limit)) return;
    this.#successes = 0;
    this.#limit += 1;
    this.#wake();
  }

  throttled(): void {
    this.#isSlowStart = false;
    if (this.#nowMs() - this.#droppedMs < DROP_AT_MOST_EVERY_MS) return;
    this.#droppedMs = this.#nowMs();
    this.#successes = 0;
    this.#limit = Math.max(1, Math.floor(this.#limit / 2));
  }

  async #room(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const giveUp = (): void => {
      this.#waiting.delete(resolve);
      reject(signal.reason);
    };
    this.#waiting.add(resolve);
    await promise.finally(onAbort(signal, giveUp));
  }

  #wake(): void {
    const [next] = this.#waiting;
    if (next === undefined || this.#inFlight >= this.#limit) return;
    this.#waiting.delete(next);
    // Taken for it now: somebody who comes before it runs must not take the place, too.
    this.#inFlight += 1;
    next();
  }
}
