import { type KeyError, toKeyError } from '../errors.ts';
import type { EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import {
  algorithmOf,
  contextCandidates,
  type EncryptionContext,
  isEmptyContext,
} from '../format/encryption-context.ts';
import { describeKey, type KeyName, keyFileName } from '../format/key-file-name.ts';
import type { StoredKey } from '../keystore/directory.ts';
import type { KmsCaller } from '../kms/caller.ts';
import type { DecryptedKey } from '../kms/client.ts';
import type { Deadline } from '../kms/retry.ts';
import { perhapsOtherContext } from './refusals.ts';

export interface UnwrappedKey extends DecryptedKey {
  /** The context that KMS opened it with. */
  readonly encryptionContext: EncryptionContext;
  /** Of that context. */
  readonly algorithm: EncryptionAlgorithm;
}

/**
 * A stored version unwrapped; the caller wipes its plaintext. Without a sidecar nothing tells the context: KMS knows.
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
    const algorithm = algorithmOf(encryptionContext);
    const opened = await kms.decrypt(`${describeKey(name)} (file ${keyFileName(name)})`, request, deadline);
    return { ...opened, encryptionContext, algorithm };
  };
  if (sidecar !== undefined) return await unwrap(sidecar.encryptionContext, false);
  let refused: KeyError | undefined;
  let denied: KeyError | undefined;
  // Asked once more, since perhaps only another Region refused a guess, while the first was out.
  for (const isContextGuessed of kms.hasOneRegion ? [false] : [true, false]) {
    for (const context of contextCandidates(configured, name)) {
      try {
        return await unwrap(context, isContextGuessed);
      } catch (thrown) {
        const error = toKeyError(thrown);
        if (error.code === 'KMS_CORRUPT') refused ??= error;
        // Who may ask with one context has a policy that denies another: that need not be the key's.
        else if (error.code === 'KMS_OPERATOR' && refused !== undefined) denied ??= error;
        else throw error;
      }
    }
  }
  throw denied ?? explained(refused, configured);
}

function explained(refused: KeyError | undefined, configured: EncryptionContext): KeyError | undefined {
  return refused === undefined || isEmptyContext(configured) ? refused : perhapsOtherContext(refused);
}
