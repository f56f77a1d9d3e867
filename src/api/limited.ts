import { KeyError } from '../errors.ts';
import { type Deadline, startDeadline } from '../kms/retry.ts';
import type { CallOptions } from './calls.ts';
import { type ApiSurroundings, guarded } from './surroundings.ts';

const DEFAULT_TIMEOUT_MS = 60_000;
/** The longest timer of Node.js. */
const MAX_MS = 0x7fff_ffff;

/** Does the work until the time is over. @throws KeyError, or the reason of the caller's signal */
export async function limited<T>(
  surroundings: ApiSurroundings,
  { timeoutMs, signal }: CallOptions,
  work: (deadline: Deadline) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const totalMs = milliseconds('timeoutMs', timeoutMs) ?? DEFAULT_TIMEOUT_MS;
  const deadline = startDeadline(surroundings.clock, totalMs, signal);
  try {
    return await guarded(surroundings, () => work(deadline));
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    deadline.cancel();
  }
}

/** @throws KeyError BAD_OPTION */
export function milliseconds(name: string, value: number | undefined): number | undefined {
  if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= MAX_MS)) return value;
  throw new KeyError('BAD_OPTION', `"${name}" expected 1 to ${MAX_MS} milliseconds, got ${value}`);
}
