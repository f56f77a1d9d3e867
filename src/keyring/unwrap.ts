import { keyCheckValue } from '../bytes.ts';
import { KeyError, toKeyError } from '../errors.ts';
import type { EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import {
  algorithmOf,
  contextCandidates,
  type EncryptionContext,
  isEmptyContext,
} from '../format/encryption-context.ts';
import { describeKey, type KeyName, keyFileName } from '../format/key-file-name.ts';
import { DATA_KEY_SPECS, keySpecLength, type Sidecar } from '../format/sidecar.ts';
import { restoreOrMove } from '../keystore/failures.ts';
import type { StoredKey } from '../keystore/store.ts';
import type { UnwrapCaller } from '../kms/caller.ts';
import type { DecryptedKey } from '../kms/client.ts';
import type { Deadline } from '../kms/retry.ts';
import { perhapsOtherContext } from './refusals.ts';

/** The facts that the sidecar of a key without one would have. */
export type SidecarFacts = Pick<Sidecar, 'masterKeyArn' | 'keySpec' | 'encryptionContext' | 'keyCheckValue'>;

export interface UnwrappedKey extends DecryptedKey {
  /** The context that KMS opened it with. */
  readonly encryptionContext: EncryptionContext;
  /** The algorithm that this context tells. */
  readonly algorithm: EncryptionAlgorithm;
}

/**
 * Unwraps a stored version; the caller wipes its plaintext. Without a sidecar the context is unknown, so each candidate
 * is tried. Bytes that the sidecar does not describe are accepted under any master key, if they hold the data key that
 * it describes: that is a copy made during a rewrap.
 * @throws KeyError
 */
export async function unwrapStoredKey(
  kms: UnwrapCaller,
  configured: EncryptionContext,
  name: KeyName,
  stored: StoredKey,
  deadline: Deadline,
): Promise<UnwrappedKey> {
  const { wrapped, sidecar, mismatch } = stored;
  // Without a key check value it is unknown whether this is the sidecar's data key.
  if (mismatch !== undefined && sidecar?.keyCheckValue === undefined) throw mismatch;
  const subject = mismatch?.message ?? `${describeKey(name)} (file ${keyFileName(name)})`;
  const unwrap = async (encryptionContext: EncryptionContext, isContextGuessed: boolean): Promise<UnwrappedKey> => {
    const { keySpec, keyCheckValue: expected } = sidecar ?? {};
    const masterKeyArn = pinnedMasterKey(stored);
    const request = { wrapped, masterKeyArn, keySpec, keyCheckValue: expected, encryptionContext, isContextGuessed };
    const algorithm = algorithmOf(encryptionContext);
    const opened = await kms.decrypt(subject, request, deadline);
    return { ...opened, encryptionContext, algorithm };
  };
  if (sidecar !== undefined) {
    try {
      return await unwrap(sidecar.encryptionContext, false);
    } catch (thrown) {
      throw mismatch === undefined ? thrown : notThatDataKey(name, toKeyError(thrown));
    }
  }
  let refused: KeyError | undefined;
  let denied: KeyError | undefined;
  // A second attempt is made, because perhaps only another Region refused a guessed context while the first one was
  // down.
  for (const isContextGuessed of kms.hasOneRegion ? [false] : [true, false]) {
    for (const context of contextCandidates(configured, name)) {
      try {
        return await unwrap(context, isContextGuessed);
      } catch (thrown) {
        const error = toKeyError(thrown);
        if (error.code === 'KMS_CORRUPT') refused ??= error;
        // A policy that allows one context may deny the others, so a denied context need not be the key's.
        else if (error.code === 'KMS_OPERATOR' && refused !== undefined) denied ??= error;
        else throw error;
      }
    }
  }
  throw denied ?? explained(refused, configured);
}

/** The master key that KMS must name. A sidecar that does not describe the bytes names another one. */
export function pinnedMasterKey({ sidecar, mismatch }: StoredKey): string | undefined {
  return mismatch === undefined ? sidecar?.masterKeyArn : undefined;
}

/**
 * Returns facts only if KMS has proved, by the context, the key's id and version: a sidecar of a misplaced file would
 * hide the mistake.
 */
export function provenFacts({
  plaintext,
  masterKeyArn,
  servedBy,
  encryptionContext,
}: UnwrappedKey): SidecarFacts | undefined {
  const keySpec = DATA_KEY_SPECS.find((spec) => keySpecLength(spec) === plaintext.length);
  if (servedBy !== undefined || keySpec === undefined || isEmptyContext(encryptionContext)) return undefined;
  return { masterKeyArn, keySpec, encryptionContext, keyCheckValue: keyCheckValue(plaintext) };
}

/** A transient failure tells nothing about the bytes; a refusal may mean that the file belongs to another server. */
function notThatDataKey(name: KeyName, error: KeyError): KeyError {
  const { code, message } = error;
  if (code === 'KMS_CORRUPT' || code === 'KMS_BAD_ANSWER')
    return new KeyError('KEY_FILE_CORRUPT', message, { hint: restoreOrMove(name), cause: error });
  if (code !== 'KMS_OPERATOR') return error;
  const hint = `perhaps it is not the file of this key: ${restoreOrMove(name)}; if it is: ${error.hint}`;
  return new KeyError(code, message, { hint, cause: error });
}

function explained(refused: KeyError | undefined, configured: EncryptionContext): KeyError | undefined {
  return refused === undefined || isEmptyContext(configured) ? refused : perhapsOtherContext(refused);
}
