import { toKeyError } from '../errors.ts';
import { type EncryptionContext, isEmptyContext, keyContext } from '../format/encryption-context.ts';
import { describeKey, type KeyName, keyFileName } from '../format/key-file-name.ts';
import type { StoredKey } from '../keystore/directory.ts';
import type { KmsCaller } from '../kms/caller.ts';
import type { DecryptedKey } from '../kms/client.ts';
import type { Deadline } from '../kms/retry.ts';
import { perhapsOtherContext } from './refusals.ts';

export interface UnwrappedKey extends DecryptedKey {
  /** The context that KMS opened it with. */
  readonly encryptionContext: EncryptionContext;
}

/**
 * A stored version unwrapped; the caller wipes its plaintext. Without a sidecar the key is bound to `configured`, or to
 * nothing: KMS knows.
 * @throws KeyError
 */
export async function unwrapStoredKey(
  kms: KmsCaller,
  configured: EncryptionContext,
  name: KeyName,
  { wrapped, sidecar }: StoredKey,
  deadline: Deadline,
): Promise<UnwrappedKey> {
  const unwrap = async (encryptionContext: EncryptionContext, isContextGuessed: boolean): Promise<UnwrappedKey> => {
    const { masterKeyArn, keySpec, keyCheckValue } = sidecar ?? {};
    const request = { wrapped, masterKeyArn, keySpec, keyCheckValue, encryptionContext, isContextGuessed };
    const opened = await kms.decrypt(`${describeKey(name)} (file ${keyFileName(name)})`, request, deadline);
    return { ...opened, encryptionContext };
  };
  if (sidecar !== undefined) return await unwrap(sidecar.encryptionContext, false);
  const context = keyContext(configured, name);
  if (isEmptyContext(context)) return await unwrap(context, false);
  return (
    (await unlessCorrupt(unwrap(context, true))) ??
    (await unlessCorrupt(unwrap({}, false))) ??
    // Perhaps only another Region refused the guess, while the first was out.
    (await unwrap(context, false).catch((thrown: unknown) => {
      const error = toKeyError(thrown);
      throw error.code === 'KMS_CORRUPT' ? perhapsOtherContext(error) : error;
    }))
  );
}

async function unlessCorrupt<T>(unwrapping: Promise<T>): Promise<T | undefined> {
  return await unwrapping.catch((thrown: unknown) => {
    if (toKeyError(thrown).code === 'KMS_CORRUPT') return undefined;
    throw thrown;
  });
}
