import { toKeyError } from '../errors.ts';
import { type EncryptionContext, isEmptyContext, keyContext } from '../format/encryption-context.ts';
import { describeKey, type KeyName, keyFileName } from '../format/key-file-name.ts';
import type { StoredKey } from '../keystore/directory.ts';
import type { KmsCaller } from '../kms/caller.ts';
import type { Deadline } from '../kms/retry.ts';
import { perhapsOtherContext } from './refusals.ts';

/**
 * The data key of a stored version; the caller wipes it. Without a sidecar the key is bound to `configured`, or to
 * nothing: KMS knows.
 * @throws KeyError
 */
export async function unwrapStoredKey(
  kms: KmsCaller,
  configured: EncryptionContext,
  name: KeyName,
  { wrapped, sidecar }: StoredKey,
  deadline: Deadline,
): Promise<Uint8Array> {
  const unwrap = async (encryptionContext: EncryptionContext): Promise<Uint8Array> => {
    const { masterKeyArn, keySpec, keyCheckValue } = sidecar ?? {};
    const request = { wrapped, masterKeyArn, keySpec, keyCheckValue, encryptionContext };
    return (await kms.decrypt(`${describeKey(name)} (file ${keyFileName(name)})`, request, deadline)).plaintext;
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
