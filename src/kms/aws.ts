import {
  DecryptCommand,
  type DecryptCommandInput,
  type DecryptCommandOutput,
  DescribeKeyCommand,
  DryRunOperationException,
  GenerateDataKeyWithoutPlaintextCommand,
  type GenerateDataKeyWithoutPlaintextCommandOutput,
  KMSClient,
} from '@aws-sdk/client-kms';
import { type EncryptionContext, isEmptyContext } from '../format/encryption-context.ts';
import type { Secrets } from '../secrets.ts';
import { classifyKmsFailure, isCredentialFailure } from './classify.ts';
import type { DecryptRequest, KmsClient } from './client.ts';
import { regionOfChain, sdkConnection } from './sdk-connection.ts';

export interface AwsOptions {
  /** Empty: the SDK's own chain (AWS_REGION, profile), then us-east-1. */
  readonly region: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
  /** Milliseconds for connecting and for each attempt; 0 takes the defaults below. */
  readonly requestTimeoutMs: number;
}

/** What the surroundings of the process say about the way to AWS. */
export interface AwsSurroundings {
  /** HTTP_PROXY, HTTPS_PROXY, NO_PROXY, in either case. */
  readonly proxyEnvironment: NodeJS.ProcessEnv;
  /** PEM certificates to trust; undefined: the usual ones. */
  readonly trustedCertificates: readonly string[] | undefined;
  /** Where the SDK finds the variables of its credential chain, to explain failures. Default: `proxyEnvironment`. */
  readonly environment?: NodeJS.ProcessEnv | undefined;
  /** Learns what must not leave the process. */
  readonly secrets: Secrets;
}

const CONNECT_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
const MAX_SOCKETS = 64;
/** Requests that a run of the credential chain may need, one after the other: role upon role, or a token and then them. */
const CREDENTIAL_REQUESTS = 3;

/** KMS through the official SDK and its default credential chain. Makes no request until it is asked to. */
export async function createAwsKmsClient(options: AwsOptions, surroundings: AwsSurroundings): Promise<KmsClient> {
  const region = options.region === '' ? await regionOfChain() : options.region;
  const connection = new Connection({ ...options, region }, surroundings);
  return {
    async generateWrappedKey({ masterKeyId, keySpec, encryptionContext }, abortSignal) {
      const command = new GenerateDataKeyWithoutPlaintextCommand({
        KeyId: masterKeyId,
        KeySpec: keySpec,
        ...contextMember(encryptionContext),
      });
      const answer = await connection.use((client) => client.send(command, { abortSignal }));
      assertFromKms(answer);
      return {
        wrapped: Buffer.from(answer.CiphertextBlob ?? []),
        masterKeyArn: answer.KeyId ?? '',
        requestId: answer.$metadata.requestId ?? '',
      };
    },
    async decrypt(request, abortSignal) {
      const command = new DecryptCommand(decryptInput(request));
      const answer = await connection.use((client) => client.send(command, { abortSignal }));
      assertFromKms(answer);
      const plaintext = answer.Plaintext ?? new Uint8Array();
      return {
        // The same memory, not a copy: one buffer to wipe.
        plaintext: Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength),
        masterKeyArn: answer.KeyId ?? '',
        requestId: answer.$metadata.requestId ?? '',
      };
    },
    async probe(request, abortSignal) {
      const command = new DecryptCommand({ ...decryptInput(request), DryRun: true });
      const { $metadata } = await connection
        .use((client) => client.send(command, { abortSignal }))
        .catch((error: unknown) => {
          // How KMS says that the call would have succeeded.
          if (error instanceof DryRunOperationException) return error;
          throw error;
        });
      return { masterKeyArn: request.masterKeyArn ?? '', requestId: $metadata.requestId ?? '' };
    },
    async describeMasterKey(arn, abortSignal) {
      const command = new DescribeKeyCommand({ KeyId: arn });
      const { KeyMetadata: key } = await connection.use((client) => client.send(command, { abortSignal }));
      return { state: key?.KeyState ?? '', deletionDate: key?.DeletionDate };
    },
    region,
    description: `Region ${region}${options.endpointUrl === '' ? '' : `, endpoint ${options.endpointUrl}`}`,
    close: () => connection.close(),
  };
}

/**
 * An SDK client that is made anew when its credentials are refused: the SDK remembers what it once read from the
 * environment or a shared file, and would not notice that they were renewed there.
 */
class Connection {
  readonly #make: () => KMSClient;
  #client: KMSClient;

  constructor(options: AwsOptions, surroundings: AwsSurroundings) {
    this.#make = () => createSdkClient(options, surroundings);
    this.#client = this.#make();
  }

  async use<T>(send: (client: KMSClient) => Promise<T>): Promise<T> {
    const client = this.#client;
    try {
      return await send(client);
    } catch (error) {
      if (client === this.#client && isCredentialFailure(classifyKmsFailure(error))) this.#client = this.#make();
      throw error;
    }
  }

  close(): void {
    this.#client.destroy();
  }
}

/** What has status 200 and is empty, or is JSON of something else, is to the SDK an answer without members. */
function assertFromKms({
  KeyId,
  $metadata,
}: DecryptCommandOutput | GenerateDataKeyWithoutPlaintextCommandOutput): void {
  if (KeyId === undefined && $metadata.requestId === undefined) throw new UnreadableAnswer($metadata);
}

type Metadata = DecryptCommandOutput['$metadata'];

class UnreadableAnswer extends Error {
  override readonly name = 'UnreadableAnswer';
  readonly $metadata: Metadata;

  constructor($metadata: Metadata) {
    super(`HTTP ${$metadata.httpStatusCode}, no answer of KMS`);
    this.$metadata = $metadata;
  }
}

function createSdkClient(
  { region, endpointUrl, requestTimeoutMs }: AwsOptions,
  surroundings: AwsSurroundings,
): KMSClient {
  const { proxyEnvironment, trustedCertificates, environment = proxyEnvironment, secrets } = surroundings;
  const requestTimeout = requestTimeoutMs || REQUEST_TIMEOUT_MS;
  return new KMSClient(
    sdkConnection({
      region,
      endpointUrl,
      connectTimeoutMs: requestTimeoutMs || CONNECT_TIMEOUT_MS,
      requestTimeoutMs: requestTimeout,
      credentialsTimeoutMs: requestTimeout * CREDENTIAL_REQUESTS,
      maxSockets: MAX_SOCKETS,
      proxyEnvironment,
      environment,
      trustedCertificates,
      secrets,
    }),
  );
}

function decryptInput({ wrapped, masterKeyArn, encryptionContext }: DecryptRequest): DecryptCommandInput {
  return {
    CiphertextBlob: wrapped,
    ...(masterKeyArn === undefined ? {} : { KeyId: masterKeyArn }),
    ...contextMember(encryptionContext),
    EncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
  };
}

function contextMember(context: EncryptionContext): { EncryptionContext?: Record<string, string> } {
  return isEmptyContext(context) ? {} : { EncryptionContext: { ...context } };
}
