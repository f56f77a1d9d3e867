import { onAbort } from '../on-abort.ts';
import { MOST_CALLS_AT_ONCE } from './client.ts';

/**
 * Concurrent calls at the start: servers that start at once must not use up the account's quota in their first moment.
 */
const START = 4;
/** The most concurrent calls near a Region: at 20 ms for each call ten thousand keys load in 1.6 seconds. */
const NEAR = 128;
/**
 * Calls a second up to which there are more than `NEAR` concurrent calls: 150 at 60 ms, 250 at 100 ms. KMS's smallest
 * quota is 10,000 a second for all that an account does in a Region.
 */
const FAR_RATE = 2_500;
/** Milliseconds: calls throttled at about the same time count as one sign. */
const DROP_AT_MOST_EVERY_MS = 200;

/**
 * Limits the concurrent KMS calls as TCP does: one more after each success until the first throttling (doubling with
 * each round trip), half after each throttling, and from then on one more after as many successes as the limit (slow
 * start, additive increase, multiplicative decrease). A Region that is far away gets more than a near one, up to
 * `MOST_CALLS_AT_ONCE`.
 */
export class CallLimiter {
  #limit = START;
  #isSlowStart = true;
  #inFlight = 0;
  #successes = 0;
  #droppedMs = Number.NEGATIVE_INFINITY;
  /** The time of the fastest call: under load all calls get slower, which is no reason for more of them. */
  #fastestMs = Number.POSITIVE_INFINITY;
  readonly #waiting = new Set<() => void>();
  readonly #nowMs: () => number;

  /** @param nowMs monotonic clock, milliseconds */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** True after throttling. */
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

  /** @param ms the time of the call, milliseconds */
  succeeded(ms: number): void {
    this.#fastestMs = Math.min(this.#fastestMs, ms);
    this.#successes += 1;
    if (this.#limit >= this.#most || (!this.#isSlowStart && this.#successes < this.#limit)) return;
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

  get #most(): number {
    return Math.min(MOST_CALLS_AT_ONCE, Math.max(NEAR, Math.floor((FAR_RATE * this.#fastestMs) / 1000)));
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
    // Reserved at once, so that a later caller does not take the place.
    this.#inFlight += 1;
    next();
  }
}
