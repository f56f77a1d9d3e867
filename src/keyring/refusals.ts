import { KeyError } from '../errors.ts';
import { describeKey, type KeyName, keyFileName } from '../format/key-file-name.ts';
import type { KeyId } from '../ids.ts';
import type { VersionRange } from './versions.ts';

/** The most ids to name in the message of a failed rotation; the log has all of them. */
const NAMED_IDS = 10;

export function withHint(error: KeyError): string {
  return error.hint === '' ? error.message : `${error.message}; ${error.hint}`;
}

export function lostKey(name: KeyName, path: string): KeyError {
  const message = `${describeKey(name)}: its sidecar is in ${path}, its key file ${keyFileName(name)} is gone`;
  return new KeyError('KEY_FILE_MISSING', message, {
    hint: 'restore the key file from a backup of the key directory; data encrypted with it cannot be read without it',
  });
}

/** The most gaps to name in one line. */
const NAMED_GAPS = 10;

/** The warning about versions of which no file is there: their data, if there still is any, cannot be read. */
export function missingBetween(gaps: readonly VersionRange[], path: string): string {
  const named = gaps.slice(0, NAMED_GAPS).map(({ id, first, last }) => {
    const from = keyFileName({ id, version: first });
    return first === last
      ? `key ${id} version ${first} (file ${from})`
      : `key ${id} versions ${first} to ${last} (files ${from} to ${keyFileName({ id, version: last })})`;
  });
  const more = gaps.length > NAMED_GAPS ? `, and ${gaps.length - NAMED_GAPS} more gaps` : '';
  return `nothing is in ${path} of older key versions: ${named.join(', ')}${more}; data under them cannot be read: restore the files from a backup of the key directory, then restart the server`;
}

/** Extends the hint of a version that data asks for: MariaDB's own error for such a table says "Please drop the table". */
export function neverDropForFile(error: KeyError): KeyError {
  if (error.code !== 'KEY_UNKNOWN' && !error.code.startsWith('KEY_FILE_')) return error;
  const never = 'never drop the table; restart the server when the file is back';
  return error.hinted(error.hint === '' ? never : `${error.hint}; ${never}`);
}

/** InnoDB's error for such a table ends only with a restart, even after the key has loaded. */
export const NEVER_DROP =
  'a table that is opened before its key has loaded reads as corrupted until the server is restarted: never DROP it';

/** @param error the reason of the last attempt */
export function stillWrapped(name: KeyName, error: KeyError): KeyError {
  const message = `${describeKey(name)} is not unwrapped yet, and is tried again: ${error.message}`;
  return new KeyError('KEY_STILL_WRAPPED', message, { hint: withNeverDrop(error.hint), cause: error });
}

function withNeverDrop(hint: string): string {
  return hint === '' ? NEVER_DROP : `${hint}; ${NEVER_DROP}`;
}

export function keyOfData(id: KeyId, path: string): KeyError {
  const message = `key ${id} is not among the key files in ${path}, and a file in the data directory is encrypted with it, or cannot be looked at: no new key is made in its place`;
  return new KeyError('KEY_OF_DATA', message, {
    hint: `restore the files aws-kms-key.${id}.* from a backup of the key directory; data of another key management plugin, such as file_key_management, never had such files: bring its keys in with mariadb-aws-kms import; without the key those tables cannot be read`,
  });
}

export function storeShrunk(path: string, listed: number, known: number): KeyError {
  const message = `${path} lists ${listed} key versions, and ${known} are known: nothing is created there`;
  return new KeyError('STORE_UNAVAILABLE', message, {
    hint: 'if its file system is not mounted, mount it; if key files were deleted or moved, bring them back',
  });
}

/** @param gone the missing files of key versions that the server uses */
export function filesGone(path: string, gone: readonly string[]): KeyError {
  const [first = ''] = gone;
  const files = gone.length === 1 ? `${first} is` : `${first} and ${gone.length - 1} more are`;
  const message = `${files} not in ${path} any more, and the server has the keys of those files in use: nothing is created there`;
  return new KeyError('STORE_UNAVAILABLE', message, {
    hint: 'if its file system is not mounted, mount it; if key files were deleted or moved, or older ones put back, bring these back from a backup before the server is restarted: data encrypted with these keys cannot be read without their files',
  });
}

/** The error for a version that the server has, although no other process created it: its file may be missing. */
export function heldAlready(name: KeyName): KeyError {
  return new KeyError('KEY_EXISTS', `${describeKey(name)}: the server has that version already`);
}

export function unknownKey(id: KeyId): KeyError {
  return new KeyError('KEY_UNKNOWN', `key ${id} does not exist`, {
    hint: `a key is created when the first table uses it: CREATE TABLE ... ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`,
  });
}

export function backupNeverCreates(id: KeyId, path: string): KeyError {
  return new KeyError('KEY_NOT_ALLOWED', `key ${id} is not in ${path}, and a backup never creates keys`, {
    hint: 'point aws_key_management_keyfile_dir at the key files that belong to this data',
  });
}

export function noMasterKey(id: KeyId): KeyError {
  return new KeyError('KEY_NOT_ALLOWED', `key ${id} cannot be created: aws_key_management_master_key_id is empty`, {
    hint: `SET GLOBAL aws_key_management_master_key_id = 'alias/...', or its key id or ARN; ${orLost(id)}`,
  });
}

export function idNotAllowed(id: KeyId): KeyError {
  const message = `key ${id} is not among the key ids that aws_key_management_key_ids allows`;
  return new KeyError('KEY_NOT_ALLOWED', message, {
    hint: `use an allowed id, or add ${id} with SET GLOBAL aws_key_management_key_ids; ${orLost(id)}`,
  });
}

/** The data was not searched: that happens only when a key could be created. */
function orLost(id: KeyId): string {
  return `if there are tables under key ${id}, its files were lost: restore aws-kms-key.${id}.*`;
}

/** KMS gives the same error for a damaged key and for one that is bound to another context. */
export function perhapsOtherContext(error: KeyError): KeyError {
  return new KeyError(error.code, `${error.message}, neither with aws_key_management_encryption_context nor without`, {
    hint: 'its sidecar is gone: restore it from a backup, or set aws_key_management_encryption_context to what it was when the key was made',
    cause: error,
  });
}

export function outOfTime(id: KeyId): KeyError {
  return new KeyError('TIMEOUT', `key ${id} was not rotated: the time allowed was used up by other keys`, {
    hint: `rotate it alone: SET GLOBAL aws_key_management_rotate_key=${id}`,
  });
}

/** The cause precedes the list, which may be long: MariaDB truncates error texts. */
export function someNotRotated(
  total: number,
  failures: readonly { readonly id: KeyId; readonly error: KeyError }[],
): KeyError {
  const [first] = failures;
  const named = failures.slice(0, NAMED_IDS).map(({ id }) => id);
  const more = failures.length > NAMED_IDS ? ` and ${failures.length - NAMED_IDS} more` : '';
  const message = `rotated ${total - failures.length} of ${total} keys; ${first?.error.message}; not rotated: ${named.join(', ')}${more}`;
  return new KeyError('KEYS_FAILED', message, { hint: first?.error.hint, cause: first?.error });
}
