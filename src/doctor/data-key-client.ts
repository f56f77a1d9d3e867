import { KeyError } from '../errors.ts';
import type { DataKeyClient } from '../kms/client.ts';
import type { KmsInspector } from '../kms/inspect.ts';
import { masterKeyInRegion } from '../kms/master-key.ts';

/** What unwraps stored keys, in the Region of the inspector. */
export function dataKeyClient(kms: KmsInspector): DataKeyClient {
  return {
    generateWrappedKey: async () => {
      throw new KeyError('INTERNAL', 'who examines keys makes none');
    },
    decrypt: async ({ wrapped, masterKeyArn, encryptionContext }, signal) => {
      const keyArn = masterKeyArn && masterKeyInRegion(masterKeyArn, kms.region);
      const { plaintext, ...answer } = await kms.decrypt(wrapped, keyArn, encryptionContext, signal);
      // The same memory, not a copy: one buffer to wipe.
      const bytes = Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength);
      return { plaintext: bytes, masterKeyArn: answer.keyArn, requestId: answer.requestId };
    },
  };
}
