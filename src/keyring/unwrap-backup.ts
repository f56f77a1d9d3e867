import { forEachBounded } from '../bounded.ts';
import { wipe } from '../bytes.ts';
import type { Disk } from '../disk/file-system.ts';
import { type KeyError, toKeyError } from '../errors.ts';
import type { EncryptionContext } from '../format/encryption-context.ts';
import type { KeyName } from '../format/key-file-name.ts';
import { KeyDirectory } from '../keystore/directory.ts';
import { backupNamedBy } from '../keystore/failures.ts';
import type { UnwrapCaller } from '../kms/caller.ts';
import type { Deadline } from '../kms/retry.ts';
import { unwrapStoredKey } from './unwrap.ts';

export interface UnwrapParts {
  readonly disk: Disk;
  readonly caller: UnwrapCaller;
  /** The context that keys without a sidecar may be bound to. */
  readonly context: EncryptionContext;
}

const CONCURRENCY = 16;

/** Unwraps each key as the server would, wipes it, and returns the errors of those that do not open. */
export async function unwrapBackup(
  directory: string,
  names: readonly KeyName[],
  { disk: { fileSystem, clock, random }, caller, context }: UnwrapParts,
  deadline: Deadline,
): Promise<readonly KeyError[]> {
  const store = new KeyDirectory(
    directory,
    fileSystem,
    clock,
    random,
    backupNamedBy('the directory on the command line'),
  );
  const problems: KeyError[] = [];
  await forEachBounded(names, CONCURRENCY, async (name) => {
    try {
      wipe((await unwrapStoredKey(caller, context, name, await store.read(name), deadline)).plaintext);
    } catch (thrown) {
      problems.push(toKeyError(thrown));
    }
  });
  return problems;
}
