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
  const unwrap = async (encryptionContext: EncryptionContext): Promise<UnwrappedKey> => {
    const { masterKeyArn, keySpec, keyCheckValue } = sidecar ?? {};
    const request = { wrapped, masterKeyArn, keySpec, keyCheckValue, encryptionContext };
    const opened = await kms.decrypt(`${describeKey(name)} (file ${keyFileName(name)})`, request, deadline);
    return { ...opened, encryptionContext };
  };
  if (sidecar !== undefined) return await unwrap(sidecar.encryptionContext);
  const context = keyContext(configured, name);
  try {
    return await unwrap(context);
  } catch (thrown) {
    if (isEmptyContext(context) || toKeyError(thrown).code !== 'KMS_CORRUPT') throw thrown;
    return await unwrap({}).catch((second: unknown) => {
      throw toKeyError(second).code === 'KMS_CORRUPT' ? perhapsOtherContext(toKeyError(second)) : second;
    });
  }
}
