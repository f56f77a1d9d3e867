import { KeyError } from '../errors.ts';

/** Returns the error of a set-up that something stands in the way of; nothing was changed. */
export function refused(message: string, hint: string, cause?: unknown): KeyError {
  return new KeyError('SETUP_REFUSED', `${message}; nothing was changed`, { hint, cause });
}
