import { forEachBounded } from '../bounded.ts';
import { wipe } from '../bytes.ts';
import { toKeyError } from '../errors.ts';
import type { KeyName } from '../format/key-file-name.ts';
import type { KeyStore, StoredKey } from '../keystore/store.ts';
import type { UnwrapCaller } from '../kms/caller.ts';
import { isMultiRegion, masterKeyInRegion } from '../kms/master-key.ts';
import type { Deadline } from '../kms/retry.ts';
import { withHint } from './refusals.ts';
import type { Settings } from './settings.ts';
import { pinnedMasterKey, unwrapStoredKey } from './unwrap.ts';

export interface DailyUseParts {
  readonly settings: Pick<Settings, 'encryptionContext'>;
  readonly store: KeyStore;
  readonly kms: UnwrapCaller;
}

interface FoundKey {
  readonly name: KeyName;
  readonly stored: StoredKey;
}

const CONCURRENCY = 8;

/**
 * Decrypts one stored version for each master key, in each Region that would serve a start. KMS counts the days since a
 * key's last use, separately for replicas, and counts neither a dry run nor keys in a server's memory. The plaintext is
 * checked like a loaded key, and wiped.
 * @returns KMS's refusals, for the log
 * @throws KeyError STORE_UNAVAILABLE
 */
export async function useMasterKeys(
  { settings, store, kms }: DailyUseParts,
  deadline: Deadline,
): Promise<readonly string[]> {
  const [here, ...elsewhere] = kms.perRegion;
  const refusals: string[] = [];
  const use = async ({ name, stored }: FoundKey, where: UnwrapCaller): Promise<string | undefined> => {
    try {
      const { plaintext, masterKeyArn } = await unwrapStoredKey(
        where,
        settings.encryptionContext,
        name,
        stored,
        deadline,
      );
      wipe(plaintext);
      return masterKeyArn;
    } catch (thrown) {
      refusals.push(
        `a master key was not used in ${where.region} today, and may come to look unused there: ${withHint(toKeyError(thrown))}`,
      );
      return undefined;
    }
  };
  const { known, unknown } = await keysToOpen(store, kms.region);
  const tasks = [...known].flatMap(([arn, found]) =>
    (isMultiRegion(arn) ? kms.perRegion : [here]).map((where) => () => use(found, where)),
  );
  await forEachBounded(tasks, CONCURRENCY, async (task) => void (await task()));
  const used = new Set(known.keys());
  await forEachBounded(unknown, CONCURRENCY, async (found) => {
    const told = await use(found, here);
    const arn = told === undefined ? '' : masterKeyInRegion(told, kms.region);
    if (!isMultiRegion(arn) || used.has(arn)) return;
    used.add(arn);
    for (const where of elsewhere) await use(found, where);
  });
  return refusals;
}

/**
 * Returns the last stored version for each master key; only KMS knows the master key of a version without a usable
 * sidecar.
 */
async function keysToOpen(
  store: KeyStore,
  region: string,
): Promise<{ readonly known: ReadonlyMap<string, FoundKey>; readonly unknown: readonly FoundKey[] }> {
  const known = new Map<string, FoundKey>();
  const unknown: FoundKey[] = [];
  for (const name of (await store.list()).stored) {
    // A later load of the version reports the error.
    const stored = await store.readToUnwrap(name).catch(() => undefined);
    if (stored === undefined) continue;
    const arn = pinnedMasterKey(stored);
    if (arn === undefined) unknown.push({ name, stored });
    else known.set(masterKeyInRegion(arn, region), { name, stored });
  }
  return { known, unknown };
}
