import { type EncryptionContext, isEmptyContext, keyContext } from '../format/encryption-context.ts';
import type { KeyName } from '../format/key-file-name.ts';
import type { StoredKey } from '../keystore/directory.ts';
import type { Configuration } from './configuration.ts';

/** What a stored version may be bound to. Without a sidecar that is what is configured now, or nothing: KMS knows. */
export function possibleContexts(
  { context }: Configuration,
  name: KeyName,
  { sidecar }: StoredKey,
): readonly EncryptionContext[] {
  if (sidecar !== undefined) return [sidecar.encryptionContext];
  const configured = keyContext(context, name);
  return isEmptyContext(configured) ? [configured] : [configured, {}];
}
