import { contextCandidates, type EncryptionContext } from '../format/encryption-context.ts';
import type { KeyName } from '../format/key-file-name.ts';
import type { StoredKey } from '../keystore/store.ts';
import type { Configuration } from '../server/configuration.ts';

/** The encryption contexts that a stored version may be bound to. Without a sidecar only KMS can tell which it is. */
export function possibleContexts(
  { context }: Configuration,
  name: KeyName,
  { sidecar }: StoredKey,
): readonly EncryptionContext[] {
  return sidecar === undefined ? contextCandidates(context, name) : [sidecar.encryptionContext];
}
