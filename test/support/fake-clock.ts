import type { Clock } from '../../src/clock.ts';

interface Timer {
  readonly atMs: number;
  readonly fire: () => void;
}

/** A clock that moves only when told to. */
export class FakeClock implements Clock {
  /** Every sleep that was requested, in milliseconds, in order. */
  readonly sleeps: number[] = [];
  #nowMs = 0;
  #wallOffsetMs = Date.UTC(2030, 0, 1);
  readonly #timers = new Set<Timer>();

  wallMs(): number {
    return this.#wallOffsetMs + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  get pendingTimers(): number {
    return this.#timers.size;
  }

  jumpWall(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    this.sleeps.push(ms);
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = { atMs: this.#nowMs + ms, fire: resolve };
    this.#timers.add(timer);
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    await promise.finally(() => this.#timers.delete(timer));
  }

  after(ms: number, callBack: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, fire: callBack };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** Lets everything that is ready run. */
  async settle(): Promise<void> {
    for (let i = 0; i < 20; i += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  async advance(ms: number): Promise<void> {
    await this.settle();
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const next = this.#next();
      if (next === undefined || next.atMs > untilMs) break;
      await this.#fire(next);
    }
    this.#nowMs = untilMs;
    await this.settle();
  }

  /** Moves from timer to timer until the promise is settled. */
  async runUntil<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const watch = (): void => {
      settled = true;
    };
    promise.then(watch, watch);
    for (;;) {
      await this.settle();
      if (settled) return await promise;
      const next = this.#next();
      if (next === undefined) throw new Error('the promise waits for no timer');
      await this.#fire(next);
    }
  }

  #next(): Timer | undefined {
    return [...this.#timers].sort((a, b) => a.atMs - b.atMs)[0];
  }

  async #fire(timer: Timer): Promise<void> {
    this.#nowMs = Math.max(this.#nowMs, timer.atMs);
    this.#timers.delete(timer);
    timer.fire();
    await this.settle();
  }
}
