/** Data keys that someone wrapped with AWS's command line: files named by key id and version, opened by KMS Decrypt. */
import { forEachBounded } from '../bounded.ts';
import { wipe } from '../bytes.ts';
import type { Clock } from '../clock.ts';
import { KeyError, toKeyError } from '../errors.ts';
import type { EncryptionContext } from '../format/encryption-context.ts';
import { describeKey, type KeyName } from '../format/key-file-name.ts';
import { MAX_WRAPPED_KEY_BYTES } from '../format/wrapped-key.ts';
import { isKeyId, isKeyVersion, parseDecimal } from '../ids.ts';
import type { UnwrapCaller } from '../kms/caller.ts';
import { startDeadline } from '../kms/retry.ts';
import type { ForeignKey } from './imported-key.ts';

export interface WrappedFile {
  readonly name: KeyName;
  readonly file: string;
  /** KMS's CiphertextBlob. */
  readonly wrapped: Buffer;
}

export interface WrappedParts {
  readonly kms: UnwrapCaller;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const KEY_MS = 30_000;
const NAME = /^(?:aws-kms-key\.)?(\d+)\.(\d+)$/;
const BASE64 = /^[A-Za-z0-9+/\s]+={0,2}\s*$/;

/** Returns the key that a file is named for: `ID.VERSION`, also behind `aws-kms-key.`; undefined: it is none. */
export function wrappedFileName(file: string): KeyName | undefined {
  const [, id, version] = (NAME.exec(file) ?? []).map((digits) => parseDecimal(digits));
  if (id === undefined || version === undefined || !isKeyId(id) || !isKeyVersion(version)) return undefined;
  return { id, version };
}

/** Returns the CiphertextBlob in a file: its bytes, or the base64 that AWS's command line prints. @throws KeyError KEY_FILE_CORRUPT */
export function wrappedBytes(file: string, bytes: Buffer): Buffer {
  const text = bytes.toString('latin1');
  const wrapped = BASE64.test(text) ? Buffer.from(text, 'base64') : bytes;
  if (wrapped.length > 0 && wrapped.length <= MAX_WRAPPED_KEY_BYTES) return wrapped;
  throw new KeyError(
    'KEY_FILE_CORRUPT',
    `${file}: expected 1 to ${MAX_WRAPPED_KEY_BYTES} bytes, got ${wrapped.length}`,
    {
      hint: 'it is the CiphertextBlob that aws kms encrypt prints, as bytes or as base64',
    },
  );
}

/**
 * Unwraps every file. The caller wipes the keys.
 * @param context that the files were wrapped with
 * @throws KeyError KMS_… of the first that KMS does not open to 16, 24 or 32 bytes
 */
export async function openWrapped(
  files: readonly WrappedFile[],
  context: EncryptionContext,
  { kms, clock, signal }: WrappedParts,
): Promise<readonly ForeignKey[]> {
  const keys: ForeignKey[] = [];
  const problems: KeyError[] = [];
  await forEachBounded(files, kms.room, async ({ name, file, wrapped }) => {
    if (problems.length > 0) return;
    const deadline = startDeadline(clock, KEY_MS, signal);
    try {
      const about = { masterKeyArn: undefined, keySpec: undefined, keyCheckValue: undefined };
      const request = { ...about, wrapped, encryptionContext: context };
      const { plaintext } = await kms.decrypt(`${describeKey(name)} (file ${file})`, request, deadline);
      keys.push({ ...name, bytes: plaintext });
    } catch (thrown) {
      problems.push(toKeyError(thrown));
    } finally {
      deadline.cancel();
    }
  });
  const [problem] = problems;
  if (problem === undefined) return keys.sort((a, b) => a.id - b.id || a.version - b.version);
  for (const { bytes } of keys) wipe(bytes);
  throw problem;
}
