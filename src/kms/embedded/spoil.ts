import type { Answer } from './call.ts';
import type { RandomBytes } from './ciphertext.ts';
import type { Misbehaviour } from './fault-rule.ts';

/** An answer that KMS never should give. Without the member in question it stays as it is. */
export function spoil(answer: Answer, misbehaviour: Misbehaviour | undefined, randomBytes: RandomBytes): Answer {
  if (answer === undefined || misbehaviour === undefined) return answer;
  const { KeyId, Plaintext } = answer;
  switch (misbehaviour.kind) {
    case 'wrong-key-id':
      return typeof KeyId === 'string' ? { ...answer, KeyId: KeyId.replace(/[0-9a-f]{12}$/, otherDigits) } : answer;
    case 'wrong-plaintext':
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
