import { forEachBounded } from '../bounded.ts';
import { keyCheckValue, wipe } from '../bytes.ts';
import type { Clock } from '../clock.ts';
import { KeyError, toKeyError } from '../errors.ts';
import type { EncryptionContext } from '../format/encryption-context.ts';
import { describeKey, type KeyName, keyFileName } from '../format/key-file-name.ts';
import { unwrapStoredKey } from '../keyring/unwrap.ts';
import type { KeyStore } from '../keystore/store.ts';
import type { UnwrapCaller } from '../kms/caller.ts';
import { startDeadline } from '../kms/retry.ts';
import type { EscrowedKey } from './copy.ts';

export interface DrillParts {
  readonly store: KeyStore;
  /** Undefined: the copy is compared with the key check values alone. */
  readonly kms: UnwrapCaller | undefined;
  readonly context: EncryptionContext;
  readonly clock: Clock;
  readonly progress: (done: number, all: number) => void;
}

export interface Drilled {
  /** Stored versions that the copy has, as they are. */
  readonly proven: number;
  /** Stored versions that the copy lacks. */
  readonly lacking: readonly KeyName[];
  /** Versions of the copy that are not stored any more. */
  readonly more: readonly KeyName[];
  /** Versions whose data key is another one in the copy. */
  readonly problems: readonly KeyError[];
  /** Stored versions that the copy has, and that could not be compared. */
  readonly unseen: readonly KeyError[];
}

const VERSION_MS = 60_000;
const FILES_AT_ONCE = 64;

/**
 * Compares the copy with every stored key: with its check value, and with the key that KMS opens.
 * @throws KeyError STORE_UNAVAILABLE
 */
export async function drill(keys: readonly EscrowedKey[], parts: DrillParts): Promise<Drilled> {
  const { store, kms, context, clock, progress } = parts;
  const { stored } = await store.list();
  const copied = new Map(keys.map((key) => [keyFileName(key.name), key]));
  const isStored = new Set(stored.map(keyFileName));
  const lacking: KeyName[] = [];
  const problems: KeyError[] = [];
  const unseen: KeyError[] = [];
  let [proven, done] = [0, 0];
  /** Returns the difference; throws where it cannot be seen. */
  const compare = async (name: KeyName, { dataKey, algorithm }: EscrowedKey): Promise<KeyError | undefined> => {
    const found = await store.readToUnwrap(name);
    const expected = found.sidecar?.keyCheckValue;
    if (expected !== undefined && expected !== keyCheckValue(dataKey))
      return other(name, 'its key check value differs');
    if (kms === undefined) {
      if (expected === undefined)
        throw new KeyError('KEY_UNKNOWN', `${describeKey(name)}: no sidecar tells its data key`);
      return undefined;
    }
    const deadline = startDeadline(clock, VERSION_MS);
    try {
      const opened = await unwrapStoredKey(kms, context, name, found, deadline);
      const isSame = opened.plaintext.equals(dataKey);
      wipe(opened.plaintext);
      if (!isSame) return other(name, 'KMS opens it to another data key');
      if (opened.algorithm !== algorithm) return other(name, `it is a key for ${opened.algorithm}`);
      return undefined;
    } finally {
      deadline.cancel();
    }
  };
  const endReading = store.readAhead(stored);
  await forEachBounded(stored, kms?.room ?? FILES_AT_ONCE, async (name) => {
    const key = copied.get(keyFileName(name));
    if (key === undefined) lacking.push(name);
    else {
      await compare(name, key).then(
        (difference) => {
          if (difference === undefined) proven += 1;
          else problems.push(difference);
        },
        (thrown: unknown) => void unseen.push(toKeyError(thrown)),
      );
    }
    done += 1;
    progress(done, stored.length);
  }).finally(endReading);
  return {
    proven,
    lacking,
    more: keys.map(({ name }) => name).filter((name) => !isStored.has(keyFileName(name))),
    problems,
    unseen,
  };
}

function other(name: KeyName, reason: string): KeyError {
  return new KeyError('KEY_FILE_CORRUPT', `the copy has another ${describeKey(name)}: ${reason}`, {
    hint: 'is it the copy of this server? If it is: find out with mariadb-aws-kms verify which of them is right',
  });
}
