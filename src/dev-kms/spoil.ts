import type { Answer } from './call.ts';
import type { RandomBytes } from './ciphertext.ts';
import type { Misbehaviour } from './fault-rule.ts';

/**
 * Alters an answer in a way that KMS never should. An answer without the member in question stays as it is.
 * @param wrap wraps under the master key of a ReEncrypt
 */
export function spoil(
  answer: Answer,
  misbehaviour: Misbehaviour | undefined,
  randomBytes: RandomBytes,
  wrap: (plaintext: Uint8Array) => unknown,
): Answer {
  if (answer === undefined || misbehaviour === undefined) return answer;
  const { KeyId, Plaintext, SourceKeyId } = answer;
  switch (misbehaviour.kind) {
    case 'wrong-key-id':
      return typeof KeyId === 'string' ? { ...answer, KeyId: KeyId.replace(/[0-9a-f]{12}$/, otherDigits) } : answer;
    case 'wrong-plaintext':
      if (SourceKeyId !== undefined) return { ...answer, CiphertextBlob: wrap(randomBytes(16)) };
      return Plaintext instanceof Uint8Array ? { ...answer, Plaintext: Plaintext.map((byte) => byte ^ 0xff) } : answer;
    case 'wrong-plaintext-length':
      return Plaintext instanceof Uint8Array ? { ...answer, Plaintext: randomBytes(misbehaviour.bytes) } : answer;
    default:
      return answer;
  }
}

function otherDigits(digits: string): string {
  return digits.replace(/./g, (digit) => (15 - Number.parseInt(digit, 16)).toString(16));
}
