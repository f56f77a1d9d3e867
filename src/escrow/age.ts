/** The age format, which `age` of other makers reads: https://age-encryption.org/v1 */
import { KeyError } from '../errors.ts';

const MADE_WITH = 'recipients are made by: age-keygen -o identity.txt (its output has the recipient, age1…)';

/** Refuses texts that are no recipients. @throws KeyError BAD_OPTION */
export async function assertRecipients(recipients: readonly string[]): Promise<void> {
  await encrypterFor(recipients);
}

/** @returns the encrypted file @throws KeyError BAD_OPTION */
export async function encryptFor(recipients: readonly string[], text: Uint8Array): Promise<Uint8Array> {
  return await (await encrypterFor(recipients)).encrypt(text);
}

async function encrypterFor(recipients: readonly string[]) {
  const { Encrypter } = await import('age-encryption');
  const encrypter = new Encrypter();
  for (const recipient of recipients) {
    try {
      encrypter.addRecipient(recipient);
    } catch (cause) {
      const text = /^AGE-SECRET-KEY-/i.test(recipient)
        ? '--recipient: that is an identity, the secret half'
        : `--recipient: ${recipient.slice(0, 80)} is no recipient of age`;
      throw new KeyError('BAD_OPTION', text, { hint: MADE_WITH, cause: new Error(describe(cause)) });
    }
  }
  return encrypter;
}

/** Returns the identities in the text of an identity file. @throws KeyError BAD_OPTION */
export function identitiesIn(text: string): readonly string[] {
  const lines = text.split('\n').map((line) => line.trim());
  const found = lines.filter((line) => line !== '' && !line.startsWith('#'));
  if (found.length > 0 && found.every((line) => /^AGE-SECRET-KEY-[0-9A-Z-]+$/.test(line))) return found;
  throw new KeyError('BAD_OPTION', '--identity: the file holds no identity of age', {
    hint: 'a line of it begins with AGE-SECRET-KEY-; one that is itself encrypted is opened before: age -d -o identity.txt identity.age',
  });
}

/** @returns the text, which the caller wipes @throws KeyError KEY_FILE_CORRUPT, BAD_OPTION */
export async function decryptWith(identities: readonly string[], file: Uint8Array): Promise<Buffer> {
  const { Decrypter } = await import('age-encryption');
  const decrypter = new Decrypter();
  try {
    for (const identity of identities) decrypter.addIdentity(identity);
  } catch {
    // The error of the library could quote the identity.
    throw new KeyError('BAD_OPTION', '--identity: the file holds a malformed identity of age');
  }
  try {
    const { buffer, byteOffset, byteLength } = await decrypter.decrypt(file);
    return Buffer.from(buffer, byteOffset, byteLength);
  } catch (cause) {
    throw new KeyError('KEY_FILE_CORRUPT', `the escrow copy cannot be opened: ${describe(cause)}`, {
      hint: 'is it the identity of a recipient of this copy, and the copy as it was written?',
    });
  }
}

function describe(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
