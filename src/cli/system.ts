import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock, Random } from '../clock.ts';
import { KeyError } from '../errors.ts';
import { Secrets } from '../secrets.ts';

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async (ms, signal) => {
    await sleep(ms, undefined, signal === undefined ? {} : { signal });
  },
  after: (ms, callBack) => {
    const timer = setTimeout(callBack, ms);
    return () => clearTimeout(timer);
  },
};

export const systemRandom: Random = Math.random;

/** Ends the process after `ms`, unless it ends by itself before that. */
export function exitWithin(ms: number): void {
  setTimeout(() => process.exit(), ms).unref();
}

/** Secrets that this process must not print. */
export const processSecrets = new Secrets();
processSecrets.addEnvironment(process.env);

/** Returns the error with secrets removed from its texts. */
export function withoutSecrets({ code, message, hint }: KeyError): KeyError {
  return new KeyError(code, processSecrets.redact(message), { hint: processSecrets.redact(hint) });
}
