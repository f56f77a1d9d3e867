import { hrtime } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock, Random } from './clock.ts';

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  // Node's `performance` loads nine modules when it is first used.
  monotonicMs: () => {
    const [seconds, nanoseconds] = hrtime();
    return seconds * 1e3 + nanoseconds / 1e6;
  },
  sleep: async (ms, signal) => {
    await sleep(ms, undefined, signal === undefined ? {} : { signal });
  },
  after: (ms, callBack) => {
    const timer = setTimeout(callBack, ms);
    return () => clearTimeout(timer);
  },
};

export const systemRandom: Random = Math.random;
