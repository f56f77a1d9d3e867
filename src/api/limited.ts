import { KeyError } from '../errors.ts';
import { childOf, type Deadline, startDeadline } from '../kms/retry.ts';
import { onAbort } from '../on-abort.ts';
import { checkMembers, milliseconds } from './arguments.ts';
import type { CallOptions } from './calls.ts';
import type { KmsParts } from './kms-parts.ts';
import { guarded } from './surroundings.ts';

const DEFAULT_TIMEOUT_MS = 60_000;

/** Does the work until the time is over, or the client is closed. @throws KeyError, or the reason of the caller's signal */
export async function limited<T>(
  { surroundings, closing }: Pick<KmsParts, 'surroundings' | 'closing'>,
  limits: CallOptions,
  work: (deadline: Deadline) => Promise<T>,
): Promise<T> {
  checkMembers('options', limits, { timeoutMs: true, signal: true });
  const { timeoutMs, signal } = limits;
  const totalMs = milliseconds('timeoutMs', timeoutMs) ?? DEFAULT_TIMEOUT_MS;
  signal?.throwIfAborted();
  if (closing.aborted) throw closed();
  const ending = childOf(signal);
  const detach = onAbort(closing, () => ending.abort(undefined));
  const deadline = startDeadline(surroundings.clock, totalMs, ending.signal);
  try {
    return await guarded(surroundings, () => work(deadline));
  } catch (error) {
    signal?.throwIfAborted();
    throw closing.aborted ? closed() : error;
  } finally {
    deadline.cancel();
    detach();
    ending.release();
  }
}

function closed(): KeyError {
  return new KeyError('CLOSED', 'the client of KMS is closed');
}
