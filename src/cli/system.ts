import { KeyError } from '../errors.ts';
import { Secrets } from '../secrets.ts';

export { systemClock, systemRandom } from '../system-clock.ts';

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
