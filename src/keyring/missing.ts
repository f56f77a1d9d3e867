import type { Clock, Random } from '../clock.ts';
import type { KeyName } from '../format/key-file-name.ts';
import { startDeadline } from '../kms/retry.ts';
import type { KeyFailure, Keyring } from './keyring.ts';

const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 60_000;
const ATTEMPT_MS = 30_000;

export interface MissingKeysParts {
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly random: Random;
  /** Called after every round with the versions that are still wrapped, and the reasons. */
  readonly report: (failures: readonly KeyFailure[]) => void;
}

/** Retries the versions that were missing at the start, until none is left or the signal is aborted. */
export async function retryMissingKeys(
  names: readonly KeyName[],
  parts: MissingKeysParts,
  signal: AbortSignal,
): Promise<void> {
  let missing = names;
  for (let pauseMs = FIRST_PAUSE_MS; missing.length > 0; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    await parts.clock.sleep(pauseMs * (0.5 + parts.random() / 2), signal).catch(() => undefined);
    if (signal.aborted) return;
    const deadline = startDeadline(parts.clock, ATTEMPT_MS, signal);
    try {
      const failures = await parts.keyring.unwrapAgain(missing, deadline);
      if (signal.aborted) return;
      parts.report(failures);
      missing = failures.map(({ name }) => name);
    } finally {
      deadline.cancel();
    }
  }
}
