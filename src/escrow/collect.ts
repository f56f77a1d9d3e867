import { forEachBounded } from '../bounded.ts';
import { wipe } from '../bytes.ts';
import type { Clock } from '../clock.ts';
import { KeyError, toKeyError } from '../errors.ts';
import type { EncryptionContext } from '../format/encryption-context.ts';
import { compareKeyNames } from '../format/key-file-name.ts';
import { lostKey } from '../keyring/refusals.ts';
import { unwrapStoredKey } from '../keyring/unwrap.ts';
import { noKeys } from '../keystore/failures.ts';
import type { KeyStore } from '../keystore/store.ts';
import type { UnwrapCaller } from '../kms/caller.ts';
import { startDeadline } from '../kms/retry.ts';
import type { EscrowedKey } from './copy.ts';

export interface CollectParts {
  readonly store: KeyStore;
  readonly kms: UnwrapCaller;
  readonly context: EncryptionContext;
  readonly clock: Clock;
  readonly progress: (done: number, all: number) => void;
  readonly signal: AbortSignal;
}

export interface Collected {
  /** All keys, by id and version, or none where there are problems. The caller wipes them. */
  readonly keys: readonly EscrowedKey[];
  readonly problems: readonly KeyError[];
}

const VERSION_MS = 60_000;

/**
 * Unwraps every stored version. A copy that lacks one would be found incomplete when it is needed, so a failure of one
 * is a failure of all.
 * @throws KeyError STORE_UNAVAILABLE, KEY_FILE_MISSING
 */
export async function collectKeys({ store, kms, context, clock, progress, signal }: CollectParts): Promise<Collected> {
  const { stored, lost } = await store.list();
  if (stored.length === 0) throw noKeys(store.place, store.named);
  const keys: EscrowedKey[] = [];
  const problems = lost.map((name) => lostKey(name, store.place));
  const endReading = store.readAhead(stored);
  await forEachBounded(stored, kms.room, async (name) => {
    if (signal.aborted) return;
    const deadline = startDeadline(clock, VERSION_MS, signal);
    try {
      const { plaintext, algorithm } = await unwrapStoredKey(
        kms,
        context,
        name,
        await store.readToUnwrap(name),
        deadline,
      );
      keys.push({ name, algorithm, dataKey: plaintext });
    } catch (thrown) {
      problems.push(toKeyError(thrown));
    } finally {
      deadline.cancel();
    }
    progress(keys.length, stored.length);
  }).finally(endReading);
  if (signal.aborted) problems.splice(0, problems.length, new KeyError('TIMEOUT', 'interrupted: nothing was written'));
  if (problems.length > 0) {
    for (const { dataKey } of keys) wipe(dataKey);
    return { keys: [], problems };
  }
  return { keys: keys.sort((a, b) => compareKeyNames(a.name, b.name)), problems };
}
