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
import { KEY_SPECS, keySpecLength, type Sidecar } from '../format/sidecar.ts';
import { restoreOrMove } from '../keystore/failures.ts';
import type { StoredKey } from '../keystore/store.ts';
import type { KmsCaller } from '../kms/caller.ts';
import type { DecryptedKey } from '../kms/client.ts';
import type { Deadline } from '../kms/retry.ts';
import { perhapsOtherContext } from './refusals.ts';

/** What the sidecar of a key that has none would say. */
export type SidecarFacts = Pick<Sidecar, 'masterKeyArn' | 'keySpec' | 'encryptionContext' | 'keyCheckValue'>;

export interface UnwrappedKey extends DecryptedKey {
  /** The context that KMS opened it with. */
  readonly encryptionContext: EncryptionContext;
  /** Of that context. */
  readonly algorithm: EncryptionAlgorithm;
}

/**
 * A stored version unwrapped; the caller wipes its plaintext. Without a sidecar nothing tells the context: KMS knows.
 * Bytes that the sidecar does not describe are taken under whatever master key KMS finds, if they hold the very data key
 * that it does describe: that is what a copy made during a rewrap looks like.
 * @throws KeyError
 */
export async function unwrapStoredKey(
  kms: KmsCaller,
  configured: EncryptionContext,
  name: KeyName,
  stored: StoredKey,
  deadline: Deadline,
): Promise<UnwrappedKey> {
  const { wrapped, sidecar, mismatch } = stored;
  // Without a key check value nothing could tell whether it is the data key of that sidecar.
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
    return await unwrap(sidecar.encryptionContext, false).catch((thrown: unknown) => {
      throw mismatch === undefined ? thrown : notThatDataKey(name, toKeyError(thrown));
    });
  }
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

/** The master key that KMS must name. A sidecar that does not describe the bytes tells that of others. */
export function pinnedMasterKey({ sidecar, mismatch }: StoredKey): string | undefined {
  return mismatch === undefined ? sidecar?.masterKeyArn : undefined;
}

/**
 * Only where KMS has proved, by the context, that the file is in its place: a sidecar of a misplaced file would defend the
 * mistake.
 */
export function provenFacts({
  plaintext,
  masterKeyArn,
  servedBy,
  encryptionContext,
}: UnwrappedKey): SidecarFacts | undefined {
  const keySpec = KEY_SPECS.find((spec) => keySpecLength(spec) === plaintext.length);
  if (servedBy !== undefined || keySpec === undefined || isEmptyContext(encryptionContext)) return undefined;
  return { masterKeyArn, keySpec, encryptionContext, keyCheckValue: keyCheckValue(plaintext) };
}

/** What passes says nothing about the bytes; what an operator can remove may be due to a file that is another server's. */
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
