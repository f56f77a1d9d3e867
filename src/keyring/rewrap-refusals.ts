import { KeyError, toKeyError } from '../errors.ts';
import { describeKey, type KeyName } from '../format/key-file-name.ts';
import { isCredentialFailure } from '../kms/failures/classify.ts';
import { regionOf } from '../kms/master-key.ts';
import type { KmsFailure } from '../kms-failure.ts';

/** ARNs of the master key that a wrapped key is under, if known, and of the one it is moved to. */
interface TwoKeys {
  readonly old?: string;
  readonly new: string;
}

const NO_CREDENTIALS = 'CredentialsProviderError';
/** Rewrap does not take the server's identity, which may not call ReEncrypt. */
const OWN_CREDENTIALS =
  'rewrap uses the credentials of whoever runs it: export AWS_PROFILE, or AWS_SHARED_CREDENTIALS_FILE, or the access key of an identity that may call ReEncrypt';

/** Throws a refusal again, with a hint that tells which of the two master keys it is about. */
export function refusedFor(keys: TwoKeys): (thrown: unknown) => never {
  return (thrown) => {
    const error = toKeyError(thrown);
    const { code, failure, hint } = error;
    if (failure?.name === NO_CREDENTIALS) throw error.hinted(OWN_CREDENTIALS);
    throw code === 'KMS_OPERATOR' && failure !== undefined ? error.hinted(hintFor(failure, hint, keys)) : error;
  };
}

/** Throws an error again; a lack of credentials with a hint for whoever runs this. */
export function refusedForRunner(thrown: unknown): never {
  const error = toKeyError(thrown);
  throw error.failure?.name === NO_CREDENTIALS ? error.hinted(OWN_CREDENTIALS) : error;
}

/** Tells whether every other version would fail in the same way. */
export function hitsAll({ code, failure }: KeyError, newMasterKeyArn: string): boolean {
  if (code === 'KMS_TRANSIENT' || code === 'TIMEOUT' || code === 'STORE_UNAVAILABLE') return true;
  if (code !== 'KMS_OPERATOR' || failure === undefined) return false;
  return isCredentialFailure(failure) || isAbout(failure, newMasterKeyArn, 'kms:ReEncryptTo');
}

function hintFor(failure: KmsFailure, hint: string, keys: TwoKeys): string {
  if (isCredentialFailure(failure)) return hint;
  const { old } = keys;
  const isOfNew = old === undefined || isAbout(failure, keys.new, 'kms:ReEncryptTo');
  const isOfOld = old !== undefined && isAbout(failure, old, 'kms:ReEncryptFrom');
  if (failure.group === 'permission') {
    const rights = [
      ...(isOfNew ? [] : [`kms:ReEncryptFrom on the old master key ${old}`]),
      ...(isOfOld ? [] : [`kms:ReEncryptTo and kms:Decrypt on the new master key ${keys.new}`]),
    ];
    return `the identity that runs this needs ${rights.join(', and ')}; for a key of another account, in that key's policy, too`;
  }
  if (isOfNew) return `this is about the new master key ${keys.new}: ${hint}`;
  return isOfOld ? `this is about the old master key ${old}: ${hint}` : hint;
}

/** Tells whether KMS's error names the key, or the missing permission on it. */
function isAbout({ about }: KmsFailure, arn: string, action: string): boolean {
  return about.includes(arn) || about.includes(action);
}

export function otherRegion(name: KeyName, masterKeyArn: string, region: string): KeyError {
  const theirs = regionOf(masterKeyArn);
  const text = `${describeKey(name)}: its master key ${masterKeyArn} is in ${theirs}, and the calls go to ${region}: ReEncrypt works inside one Region`;
  return new KeyError('KMS_OPERATOR', text, {
    hint: `move it to a master key in ${theirs}: --region ${theirs} --to KEY`,
  });
}

export function stillInTheMaking(name: KeyName): KeyError {
  const text = `${describeKey(name)}: it has no sidecar, and a server is storing keys, or was killed while it did`;
  return new KeyError('KEY_EXISTS', text, {
    hint: 'run this again; when it stays so for an hour, the next start of the server clears it up',
  });
}
