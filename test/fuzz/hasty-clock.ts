import { FakeClock } from '../support/fake-clock.ts';

/** A clock whose waits are over at once, and never many. */
export class HastyClock extends FakeClock {
  override sleep(ms: number): Promise<void> {
    this.sleeps.push(ms);
    if (this.sleeps.length > 1_000) throw new Error('a reader waits without an end');
    return Promise.resolve();
  }
}
