import { systemClock } from '../../src/cli/system.ts';
import type { Clock } from '../../src/clock.ts';
import type { FaultRule } from '../../src/dev-kms/index.ts';

/** The fault of calls that `HeldCalls` holds. */
export const HELD: FaultRule = { kind: 'latency', ms: 1 };

/** The clock of a KMS whose slow calls last until they are released. */
export class HeldCalls implements Clock {
  readonly wallMs = systemClock.wallMs;
  readonly monotonicMs = systemClock.monotonicMs;
  readonly after = systemClock.after;
  /** The number of calls in progress. */
  calls = 0;
  /** The highest number of simultaneous calls so far. */
  most = 0;
  #gate = Promise.withResolvers<void>();

  async sleep(_: number, signal?: AbortSignal): Promise<void> {
    this.calls += 1;
    this.most = Math.max(this.most, this.calls);
    const ended = Promise.withResolvers<void>();
    const abort = (): void => ended.reject(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      signal?.throwIfAborted();
      await Promise.race([this.#gate.promise, ended.promise]);
    } finally {
      signal?.removeEventListener('abort', abort);
      this.calls -= 1;
    }
  }

  /** Releases the calls in progress; later ones are held again. */
  letGo(): void {
    this.#gate.resolve();
    this.#gate = Promise.withResolvers();
  }
}
