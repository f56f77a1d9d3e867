import { KeyError } from '../errors.ts';
import { KmsCaller } from '../kms/caller.ts';
import type { DataKeyClient } from '../kms/client.ts';
import type { KmsInspector } from '../kms/inspect.ts';
import type { Surroundings } from '../server/surroundings.ts';

/** Calls with retries, of one Region, which nobody watches. */
export function dataKeyCaller(kms: KmsInspector, { clock, random }: Pick<Surroundings, 'clock' | 'random'>): KmsCaller {
  return new KmsCaller([dataKeyClient(kms)], clock, random, {
    attemptStarted: () => undefined,
    attemptEnded: () => undefined,
  });
}

/** What unwraps stored keys, in the Region of the inspector. */
function dataKeyClient(kms: KmsInspector): DataKeyClient {
  const decline = async (): Promise<never> => {
    throw new KeyError('INTERNAL', 'who examines or moves keys makes none');
  };
  return {
    region: kms.region,
    description: kms.description,
    generateWrappedKey: decline,
    probe: decline,
    decrypt: async ({ wrapped, masterKeyArn, encryptionContext }, signal) => {
      const { plaintext, ...answer } = await kms.decrypt(wrapped, masterKeyArn, encryptionContext, signal);
      // The same memory, not a copy: one buffer to wipe.
      const bytes = Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength);
      return { plaintext: bytes, masterKeyArn: answer.keyArn, requestId: answer.requestId };
    },
  };
}
