import { contextCandidates, type EncryptionContext } from '../format/encryption-context.ts';
import type { KeyName } from '../format/key-file-name.ts';
import type { StoredKey } from '../keystore/directory.ts';
import type { Configuration } from '../server/configuration.ts';

/** What a stored version may be bound to. Without a sidecar nothing tells: KMS knows. */
export function possibleContexts(
  { context }: Configuration,
  name: KeyName,
  { sidecar }: StoredKey,
): readonly EncryptionContext[] {
  return sidecar === undefined ? contextCandidates(context, name) : [sidecar.encryptionContext];
}
