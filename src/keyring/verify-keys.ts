import { forEachBounded } from '../bounded.ts';
import { wipe } from '../bytes.ts';
import type { Clock } from '../clock.ts';
import { KeyError, toKeyError } from '../errors.ts';
import type { EncryptionContext } from '../format/encryption-context.ts';
import { compareKeyNames, describeKey, type KeyName, keyFileName } from '../format/key-file-name.ts';
import { allowsKeyId, type KeyIdSet } from '../ids.ts';
import { noKeys } from '../keystore/failures.ts';
import type { KeyStore, StoredKey } from '../keystore/store.ts';
import type { UnwrapCaller } from '../kms/caller.ts';
import { startDeadline } from '../kms/retry.ts';
import type { FailureGroup } from '../kms-failure.ts';
import { lostKey } from './refusals.ts';
import { unwrapStoredKey } from './unwrap.ts';
import { gaps } from './versions.ts';

export interface VerifyParts {
  readonly store: KeyStore;
  readonly keyIds: KeyIdSet;
  /** Unwraps the keys; undefined: only the files are looked at. */
  readonly kms: UnwrapCaller | undefined;
  /** The context that keys without a sidecar may be bound to. */
  readonly context: EncryptionContext;
  /** Versions that were retired: they are missing on purpose. */
  readonly retired: readonly KeyName[];
  readonly clock: Clock;
  /** Called after each version, with the number of those looked at. */
  readonly progress: (done: number, all: number) => void;
  /** Aborted: the rest is not looked at. */
  readonly signal: AbortSignal;
}

export interface VerifiedKeys {
  readonly versions: readonly KeyName[];
  /** Versions that KMS opened to their data key. */
  readonly opened: number;
  /** Versions that nothing describes: that the data key is theirs cannot be seen. */
  readonly undescribed: readonly KeyName[];
  /** Versions that a server could not read, or that are not what was stored. */
  readonly problems: readonly KeyError[];
  /** Versions that load, and something about them is not in order. */
  readonly warnings: readonly KeyError[];
  /** Errors of looks that failed; they say nothing about the keys. */
  readonly unseen: readonly KeyError[];
}

/** Milliseconds for the calls of one version. */
const VERSION_MS = 60_000;
/** Failures of KMS that are those of the master key or the wrapped key, whoever asks. */
const OF_THE_KEY: readonly FailureGroup[] = ['master-key', 'pending-deletion', 'wrapped-key', 'answer'];
const OF_THE_FILE = ['KEY_FILE_CORRUPT', 'KEY_FILE_SWAPPED', 'KEY_FILE_MISSING', 'KMS_CORRUPT', 'KEY_UNKNOWN'];

/**
 * Looks at each stored version: its files, and that KMS opens it to the data key that was made.
 * @throws KeyError STORE_UNAVAILABLE, KEY_UNKNOWN or KEY_FILE_MISSING when there is no key to look at
 */
export async function verifyKeys(parts: VerifyParts): Promise<VerifiedKeys> {
  const { store, keyIds, retired, clock, progress, signal } = parts;
  const listing = await store.list();
  const chosen = (names: readonly KeyName[]): readonly KeyName[] => names.filter(({ id }) => allowsKeyId(keyIds, id));
  const isRetired = new Set(retired.map(keyFileName));
  const versions = chosen(listing.stored);
  const lost = chosen(listing.lost).filter((name) => !isRetired.has(keyFileName(name)));
  if (listing.stored.length + lost.length === 0) throw noKeys(store.place, store.named);
  if (versions.length + lost.length === 0)
    throw new KeyError('KEY_UNKNOWN', `none of these key ids is in ${store.place}`, {
      hint: 'mariadb-aws-kms verify without --keys looks at all that are',
    });
  const holes = gaps({ ...listing, stored: versions, lost, retired: chosen(retired) });
  const problems = [
    ...lost.map((name) => lostKey(name, store.place)),
    ...holes.map((range) => hole(range, store.place)),
  ];
  const looked = { problems, warnings: strays(listing.strays, store.place), unseen: [] as KeyError[] };
  const undescribed: KeyName[] = [];
  let opened = 0;
  let done = 0;
  const endReading = store.readAhead(versions);
  await forEachBounded(versions, parts.kms?.room ?? FILES_AT_ONCE, async (name) => {
    if (signal.aborted) return;
    const deadline = startDeadline(clock, VERSION_MS, signal);
    try {
      const stored = await store.readToUnwrap(name);
      looked.warnings.push(...remarks(name, stored));
      if (stored.sidecar?.keyCheckValue === undefined) undescribed.push(name);
      if (parts.kms === undefined) {
        if (stored.mismatch !== undefined) throw stored.mismatch;
      } else {
        wipe((await unwrapStoredKey(parts.kms, parts.context, name, stored, deadline)).plaintext);
        opened += 1;
        if (stored.mismatch !== undefined) looked.warnings.push(corrected(stored.mismatch));
      }
    } catch (thrown) {
      const error = toKeyError(thrown);
      if (!signal.aborted) (saysSomething(error) ? looked.problems : looked.unseen).push(error);
    } finally {
      deadline.cancel();
    }
    done += 1;
    progress(done, versions.length);
  }).finally(endReading);
  if (signal.aborted) {
    const rest = `${versions.length - done} of ${versions.length} key versions were not looked at`;
    looked.unseen.push(new KeyError('TIMEOUT', `interrupted: ${rest}`));
  }
  return { versions, opened, undescribed: undescribed.sort(compareKeyNames), ...looked };
}

/** File reads at a time without KMS. */
const FILES_AT_ONCE = 64;

/** Tells whether the failure shows something about the key, and not about the one who asks or the way to KMS. */
function saysSomething({ code, failure }: KeyError): boolean {
  return OF_THE_FILE.includes(code) || (failure !== undefined && OF_THE_KEY.includes(failure.group));
}

function remarks(name: KeyName, { sidecarProblem }: StoredKey): readonly KeyError[] {
  if (sidecarProblem === undefined) return [];
  const { code, message, hint } = sidecarProblem;
  return [new KeyError(code, `${describeKey(name)}: ${message}`, { hint })];
}

function corrected({ code, message }: KeyError): KeyError {
  return new KeyError(code, `${message}; it is the same data key`, {
    hint: 'the next start of the server corrects the sidecar',
  });
}

function hole({ id, first, last }: ReturnType<typeof gaps>[number], place: string): KeyError {
  const range = first === last ? `version ${first}` : `versions ${first} to ${last}`;
  return new KeyError('KEY_FILE_MISSING', `key ${id} ${range}: missing in ${place}, where later ones are`, {
    hint: 'data under it cannot be read: restore the files from a backup of the key directory; versions that were retired lie in its directory .aws-kms-retired, and do not count',
  });
}

function strays(names: readonly string[], place: string): KeyError[] {
  return names.map(
    (name) =>
      new KeyError('KEY_FILE_CORRUPT', `${name} in ${place}: not the name of a key file`, {
        hint: 'no server reads it: if it is a key file under another name, give it its own; if not, move it away',
      }),
  );
}
