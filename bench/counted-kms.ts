import { systemClock } from '../src/cli/system.ts';
import { type DevKms, startDevKms, TEST_ACCESS_KEY } from '../src/dev-kms/index.ts';
import { ROLE_KEY } from './instance-metadata.ts';

export const MASTER_KEY = 'alias/mariadb-encryption';

/** The embedded KMS on loopback, with a count of its calls; its own record keeps the last 10,000 only. */
export interface CountedKms {
  readonly kms: DevKms;
  count(): number;
}

export async function startCountedKms(): Promise<CountedKms> {
  let calls = 0;
  const onCall = (): void => {
    calls += 1;
  };
  const accessKeys = [TEST_ACCESS_KEY, ROLE_KEY];
  return {
    kms: await startDevKms({ clock: systemClock, aliases: [MASTER_KEY], accessKeys, onCall }),
    count: () => calls,
  };
}
