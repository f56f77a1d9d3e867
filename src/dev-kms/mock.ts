import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { MOCK_STATE_FILE } from '../format/key-file-name.ts';
import type { KmsClient } from '../kms/client.ts';
import { createEmbeddedKms, DEFAULT_REGION, initialState, openStateFile } from './index.ts';

/** The alias of the master key that mock mode creates for itself. */
export const MOCK_ALIAS = 'alias/mock';

/**
 * A KMS client for trials without AWS: the embedded KMS in this process, with its key material in a file beside the key
 * files. mariadb-backup copies that file along. It protects nothing.
 * @throws KeyError STORE_UNAVAILABLE, KEY_FILE_CORRUPT
 */
export function createMockKmsClient(keyfileDir: string, clock: Clock): KmsClient {
  const region = DEFAULT_REGION;
  const path = join(keyfileDir, MOCK_STATE_FILE);
  const initial = () => initialState({ clock, randomBytes, region, aliases: [MOCK_ALIAS] });
  const kms = createEmbeddedKms({ state: openStateFile(path, initial, randomBytes), clock, randomBytes });
  return {
    async generateWrappedKey({ masterKeyId, keySpec, encryptionContext }) {
      // Mock mode accepts any name as a master key, as no AWS account can contradict it.
      const alias = /^alias\/[\w/-]+$/.test(masterKeyId) ? masterKeyId : MOCK_ALIAS;
      const keyId = kms.ensureAlias(region, alias);
      const made = kms.generateDataKeyWithoutPlaintext({ region, keyId, keySpec, encryptionContext });
      return { wrapped: Buffer.from(made.ciphertextBlob), masterKeyArn: made.keyId, requestId: 'mock' };
    },
    async decrypt({ wrapped, masterKeyArn, encryptionContext }) {
      const { plaintext, keyId } = kms.decrypt({
        region,
        ciphertextBlob: wrapped,
        keyId: masterKeyArn,
        encryptionContext,
      });
      return {
        plaintext: Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength),
        masterKeyArn: keyId,
        requestId: 'mock',
      };
    },
    // The mock master key is always usable.
    probe: async ({ masterKeyArn = '' }) => ({ masterKeyArn, requestId: 'mock' }),
    describeKey: async () => ({ state: 'Enabled', deletionMs: undefined }),
    region,
    description: 'the mock KMS',
    close: () => undefined,
  };
}
