import { DecryptCommand, GenerateDataKeyWithoutPlaintextCommand, KMSClient } from '@aws-sdk/client-kms';
import type { KmsClient } from './client.ts';

export interface AwsOptions {
  /** Empty: the SDK's own chain (AWS_REGION, profile), then us-east-1. */
  readonly region: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
  /** Milliseconds for connecting and for each attempt; 0 takes the defaults below. */
  readonly requestTimeoutMs: number;
}

export const DEFAULT_CONNECT_TIMEOUT_MS = 5_000;
export const DEFAULT_REQUEST_TIMEOUT_MS = 10_000;
export const DEFAULT_REGION = 'us-east-1';

/** KMS through the official SDK and its default credential chain. Makes no request until it is asked to. */
export async function createAwsKmsClient(options: AwsOptions): Promise<KmsClient> {
  const region = options.region === '' ? await regionOfChain() : options.region;
  const client = new KMSClient({
    region,
    ...(options.endpointUrl === '' ? {} : { endpoint: options.endpointUrl }),
    // Retries are ours: they need the deadline, the clock and the log.
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: options.requestTimeoutMs || DEFAULT_CONNECT_TIMEOUT_MS,
      requestTimeout: options.requestTimeoutMs || DEFAULT_REQUEST_TIMEOUT_MS,
      throwOnRequestTimeout: true,
      httpAgent: { keepAlive: true, maxSockets: 64 },
      httpsAgent: { keepAlive: true, maxSockets: 64 },
    },
  });
  return {
    async generateWrappedKey({ masterKeyId, keySpec }, abortSignal) {
      const answer = await client.send(
        new GenerateDataKeyWithoutPlaintextCommand({ KeyId: masterKeyId, KeySpec: keySpec }),
        { abortSignal },
      );
      return {
        wrapped: Buffer.from(answer.CiphertextBlob ?? []),
        masterKeyArn: answer.KeyId ?? '',
        requestId: answer.$metadata.requestId ?? '',
      };
    },
    async decrypt({ wrapped, masterKeyArn }, abortSignal) {
      const answer = await client.send(
        new DecryptCommand({
          CiphertextBlob: wrapped,
          ...(masterKeyArn === undefined ? {} : { KeyId: masterKeyArn }),
          EncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
        }),
        { abortSignal },
      );
      const plaintext = answer.Plaintext ?? new Uint8Array();
      return {
        // The same memory, not a copy: one buffer to wipe.
        plaintext: Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength),
        masterKeyArn: answer.KeyId ?? '',
        requestId: answer.$metadata.requestId ?? '',
      };
    },
    description: `Region ${region}${options.endpointUrl === '' ? '' : `, endpoint ${options.endpointUrl}`}`,
    close: () => client.destroy(),
  };
}

async function regionOfChain(): Promise<string> {
  const client = new KMSClient({});
  try {
    return await client.config.region();
  } catch {
    return DEFAULT_REGION;
  } finally {
    client.destroy();
  }
}
