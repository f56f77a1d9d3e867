import { randomBytes } from 'node:crypto';
import type { Clock } from '../../src/clock.ts';
import {
  createEmbeddedKms,
  DEFAULT_REGION,
  type EmbeddedKms,
  initialState,
  KmsFault,
  memoryState,
} from '../../src/dev-kms/index.ts';
import type { EncryptionContext } from '../../src/format/encryption-context.ts';
import type { KmsClient, KmsOperation, OperatorClient } from '../../src/kms/client.ts';
import { kmsError } from './scripted-kms.ts';

/**
 * A KMS client on the embedded KMS without the network: it enforces contexts, master keys and their states, and records
 * calls.
 */
export class EmbeddedClient {
  readonly calls: { readonly operation: KmsOperation; readonly context: EncryptionContext }[] = [];
  readonly kms: EmbeddedKms;
  /** Runs before each call; an error that it throws becomes KMS's answer. */
  on: (operation: KmsOperation, context: EncryptionContext) => Promise<void> | void = () => undefined;

  /** Actions of ReEncrypt and Encrypt that the caller is denied. */
  denied: readonly string[] = [];
  /** Changes the answer of ReEncrypt. */
  reEncrypted: (blob: Buffer) => Buffer = (blob) => blob;

  /** Changes the answer of Encrypt. */
  encrypted: (blob: Buffer) => Buffer = (blob) => blob;

  constructor(clock: Clock, aliases: readonly string[]) {
    const state = memoryState(initialState({ clock, randomBytes, region: DEFAULT_REGION, aliases }));
    this.kms = createEmbeddedKms({ state, clock, randomBytes });
  }

  get client(): KmsClient & OperatorClient {
    const called = async <T>(operation: KmsOperation, context: EncryptionContext, answer: () => T): Promise<T> => {
      this.calls.push({ operation, context });
      await this.on(operation, context);
      try {
        return answer();
      } catch (error) {
        // The error as the SDK throws it, identified by its name.
        throw error instanceof KmsFault ? kmsError(error.name, error.message, error.status) : error;
      }
    };
    const region = DEFAULT_REGION;
    return {
      region,
      description: 'the embedded KMS',
      generateWrappedKey: ({ masterKeyId: keyId, keySpec, encryptionContext }) =>
        called('GenerateDataKeyWithoutPlaintext', encryptionContext, () => {
          const made = this.kms.generateDataKeyWithoutPlaintext({ region, keyId, keySpec, encryptionContext });
          return { wrapped: Buffer.from(made.ciphertextBlob), masterKeyArn: made.keyId, requestId: 'generate' };
        }),
      decrypt: ({ wrapped, masterKeyArn, encryptionContext }) =>
        called('Decrypt', encryptionContext, () => {
          const request = { region, ciphertextBlob: wrapped, keyId: masterKeyArn, encryptionContext };
          const { plaintext, keyId } = this.kms.decrypt(request);
          return { plaintext: Buffer.from(plaintext), masterKeyArn: keyId, requestId: 'decrypt' };
        }),
      reEncrypt: ({ wrapped, masterKeyArn, newMasterKeyArn, encryptionContext, isDryRun }) =>
        called('ReEncrypt', encryptionContext, () => {
          const answer = this.kms.call(region, { accessKeyId: '', denied: this.denied }, 'ReEncrypt', {
            CiphertextBlob: wrapped,
            SourceKeyId: masterKeyArn,
            SourceEncryptionContext: encryptionContext,
            DestinationKeyId: newMasterKeyArn,
            DestinationEncryptionContext: encryptionContext,
          });
          const blob = answer?.['CiphertextBlob'];
          return {
            wrapped: isDryRun || !(blob instanceof Uint8Array) ? Buffer.alloc(0) : this.reEncrypted(Buffer.from(blob)),
            masterKeyArn: String(answer?.['KeyId']),
            oldMasterKeyArn: String(answer?.['SourceKeyId']),
            requestId: 're-encrypt',
          };
        }),
      encrypt: ({ masterKeyId, plaintext, encryptionContext }) =>
        called('Encrypt', encryptionContext, () => {
          const answer = this.kms.call(region, { accessKeyId: '', denied: this.denied }, 'Encrypt', {
            KeyId: masterKeyId,
            Plaintext: plaintext,
            EncryptionContext: encryptionContext,
          });
          const blob = answer?.['CiphertextBlob'];
          if (!(blob instanceof Uint8Array)) throw new Error('no CiphertextBlob');
          return {
            wrapped: this.encrypted(Buffer.from(blob)),
            masterKeyArn: String(answer?.['KeyId']),
            requestId: 'encrypt',
          };
        }),
      rehearseEncrypt: async ({ masterKeyId, encryptionContext }) => {
        await called('Encrypt', encryptionContext, () => {
          const input = { KeyId: masterKeyId, Plaintext: Buffer.alloc(1), EncryptionContext: encryptionContext };
          this.kms.call(region, { accessKeyId: '', denied: this.denied }, 'Encrypt', input);
        });
      },
      describeKey: async (name) => ({ arn: name, state: 'Enabled', deletionMs: undefined }),
      probe: async ({ masterKeyArn = '' }) => ({ masterKeyArn, requestId: 'probe' }),
      close: () => undefined,
    };
  }
}
