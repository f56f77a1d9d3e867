import { isDataKeyLength, keyCheckValue } from '../bytes.ts';
import { type DataKeySpec, keySpecLength } from '../format/sidecar.ts';
import { MAX_WRAPPED_KEY_BYTES } from '../format/wrapped-key.ts';
import type { KmsFailure } from '../kms-failure.ts';
import type {
  Answer,
  DecryptedKey,
  DecryptRequest,
  EncryptRequest,
  GeneratedKey,
  ReEncryptedKey,
  ReEncryptRequest,
} from './client.ts';
import { isSameMasterKey } from './master-key.ts';

/** The name of a failure: an answer came, but it is not the one that was requested. */
export const WRONG_ANSWER = 'WrongAnswer';

const CHECK_ENDPOINT =
  'nothing was changed; check in aws_key_management_endpoint_url or aws_key_management_failover_regions that the endpoint of that Region is a KMS endpoint';
const RESTORE_FILE =
  'the wrapped key was not made by GenerateDataKeyWithoutPlaintext with KeySpec AES_128 or AES_256; restore the key file from a backup';

export interface UnwrapRequest extends DecryptRequest {
  /** The KeySpec that the data key must have; undefined when unknown. */
  readonly keySpec: DataKeySpec | undefined;
  /** The key check value of the data key, when known. */
  readonly keyCheckValue: string | undefined;
  /** True: the encryption context is a guess, so one Region's refusal is enough to try another context. */
  readonly isContextGuessed?: boolean;
}

/** Checks that KMS answered with a wrapped key of 1 to 6144 bytes and the ARN of a master key. */
export function problemOfGenerated(answer: GeneratedKey): KmsFailure | undefined {
  const { length } = answer.wrapped;
  if (length < 1 || length > MAX_WRAPPED_KEY_BYTES) {
    return wrong(answer, `"CiphertextBlob" expected 1 to ${MAX_WRAPPED_KEY_BYTES} bytes, got ${length}`);
  }
  return answer.masterKeyArn.startsWith('arn:') ? undefined : wrong(answer, '"KeyId" is not an ARN');
}

/** Checks that KMS answered with the master key that was named and the data key that was created. */
export function problemOfDecrypted(answer: DecryptedKey, request: UnwrapRequest): KmsFailure | undefined {
  const { masterKeyArn, keySpec } = request;
  const { length } = answer.plaintext;
  if (!answer.masterKeyArn.startsWith('arn:')) return wrong(answer, '"KeyId" is not an ARN');
  if (masterKeyArn !== undefined && !isSameMasterKey(answer.masterKeyArn, masterKeyArn)) {
    return wrong(answer, `"KeyId" expected ${masterKeyArn}, got ${answer.masterKeyArn}`);
  }
  if (!isDataKeyLength(length)) {
    return wrong(answer, `"data key" expected 16, 24 or 32 bytes, got ${length}`, RESTORE_FILE);
  }
  if (keySpec !== undefined && length !== keySpecLength(keySpec)) {
    return wrong(answer, `"data key" expected ${keySpecLength(keySpec)} bytes for ${keySpec}, got ${length}`);
  }
  if (request.keyCheckValue !== undefined && keyCheckValue(answer.plaintext) !== request.keyCheckValue) {
    return wrong(answer, 'the data key is not the one that was made: its key check value differs');
  }
  return undefined;
}

/** Checks that KMS answered with a wrapped key under the new master key, made from one under the old one. */
export function problemOfReEncrypted(answer: ReEncryptedKey, request: ReEncryptRequest): KmsFailure | undefined {
  if (request.isDryRun) return undefined;
  const { masterKeyArn: old, newMasterKeyArn } = request;
  if (!isSameMasterKey(answer.masterKeyArn, newMasterKeyArn)) {
    return wrong(answer, `"KeyId" expected ${newMasterKeyArn}, got ${answer.masterKeyArn}`);
  }
  if (old !== undefined && !isSameMasterKey(answer.oldMasterKeyArn, old)) {
    return wrong(answer, `"SourceKeyId" expected ${old}, got ${answer.oldMasterKeyArn}`);
  }
  return problemOfGenerated(answer);
}

/** Checks that KMS answered with a wrapped key, under the master key that was named if an ARN named it. */
export function problemOfEncrypted(
  answer: GeneratedKey,
  { masterKeyId, plaintext }: EncryptRequest,
): KmsFailure | undefined {
  const { masterKeyArn, wrapped } = answer;
  if (/^arn:[^:]+:kms:[^:]+:[^:]+:key\//.test(masterKeyId) && !isSameMasterKey(masterKeyArn, masterKeyId)) {
    return wrong(answer, `"KeyId" expected ${masterKeyId}, got ${masterKeyArn}`);
  }
  if (wrapped.includes(plaintext)) return wrong(answer, 'the data key stands in the wrapped key in clear');
  return problemOfGenerated(answer);
}

function wrong({ requestId }: Answer, message: string, hint = CHECK_ENDPOINT): KmsFailure {
  const row = { kind: 'other', group: 'answer', retry: 'no', hint } as const;
  return { ...row, name: WRONG_ANSWER, message, about: [], requestId, status: 200 };
}
