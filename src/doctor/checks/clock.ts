import { failure, ok, skipped, warning } from '../../finding.ts';
import type { Reached } from '../../kms/inspect.ts';
import { type Check, kmsIsNotAsked } from '../check.ts';

/** AWS refuses signatures whose time is off by five minutes. */
const REFUSED_MS = 5 * 60_000;
const NOTICEABLE_MS = 60_000;
const FIX = 'timedatectl set-ntp true, then look at `chronyc tracking` or `timedatectl timesync-status`';

export const clock: Check = {
  id: 'clock',
  unneeded: kmsIsNotAsked,
  isOptional: true,
  async run({ reach }, signal) {
    let reached: Reached;
    try {
      reached = await reach(signal);
    } catch {
      return [skipped('the service was not reached: see endpoint')];
    }
    const { dateMs, receivedMs } = reached;
    if (dateMs === undefined) return [skipped('the answer of the service has no date')];
    // The header has whole seconds: half a second is the expected remainder.
    const skewMs = receivedMs - (dateMs + 500);
    const found = `this machine is ${describe(skewMs)} the service`;
    if (Math.abs(skewMs) >= REFUSED_MS) return [failure(`${found}: signatures are refused`, FIX)];
    return [Math.abs(skewMs) >= NOTICEABLE_MS ? warning(found, FIX) : ok('within a minute of the service')];
  },
};

function describe(skewMs: number): string {
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  const amount = seconds >= 120 ? `${Math.round(seconds / 60)} min` : `${seconds} s`;
  return `${amount} ${skewMs < 0 ? 'behind' : 'ahead of'}`;
}
