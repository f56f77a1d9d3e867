import { type EncryptionContext, isEmptyContext } from '../../format/encryption-context.ts';
import type { DecryptRequest, KmsClient, MasterKey } from '../client.ts';
import { classifyKmsFailure } from '../failures/classify.ts';
import type { KmsConnection } from './connection.ts';
import type { JsonAnswer } from './json-call.ts';

/** The calls that every program makes. */
export interface KeyCalls extends Pick<KmsClient, 'generateWrappedKey' | 'decrypt' | 'probe'> {
  describeKey(keyId: string, signal: AbortSignal): Promise<MasterKey>;
}

export function keyCalls(connection: KmsConnection): KeyCalls {
  return {
    async generateWrappedKey({ masterKeyId, keySpec, encryptionContext }, signal) {
      const input = { KeyId: masterKeyId, KeySpec: keySpec, ...contextMember(encryptionContext) };
      const answer = await connection.call('GenerateDataKeyWithoutPlaintext', input, signal);
      return { wrapped: bytesOf(answer.members['CiphertextBlob']), ...answerOf(answer) };
    },
    async decrypt(request, signal) {
      const answer = await connection.call('Decrypt', decryptInput(request), signal);
      return { plaintext: bytesOf(answer.members['Plaintext']), ...answerOf(answer) };
    },
    async probe(request, signal) {
      const requestId = await dryRunId(connection, 'Decrypt', decryptInput(request), signal);
      return { masterKeyArn: request.masterKeyArn ?? '', requestId };
    },
    async describeKey(keyId, signal) {
      const { members } = await connection.call('DescribeKey', { KeyId: keyId }, signal);
      const key = recordOf(members['KeyMetadata']);
      const { PrimaryKey: primary, ReplicaKeys: replicas } = recordOf(key['MultiRegionConfiguration']);
      return {
        arn: textOf(key['Arn']),
        keyId: textOf(key['KeyId']),
        state: textOf(key['KeyState']),
        spec: textOf(key['KeySpec']),
        usage: textOf(key['KeyUsage']),
        origin: textOf(key['Origin']),
        manager: textOf(key['KeyManager']),
        deletionMs: msOf(key['DeletionDate']),
        isMultiRegion: key['MultiRegion'] === true,
        members: [primary, ...(Array.isArray(replicas) ? replicas : [])]
          .map(recordOf)
          .map((member) => ({ region: textOf(member['Region']), arn: textOf(member['Arn']) }))
          .filter(({ region, arn }) => region !== '' && arn !== ''),
      };
    },
  };
}

/** Makes a call with DryRun. @returns the request id if KMS would permit the call */
export async function dryRunId(
  connection: KmsConnection,
  operation: string,
  input: object,
  signal: AbortSignal,
): Promise<string> {
  try {
    const { metadata } = await connection.call(operation, { ...input, DryRun: true }, signal);
    return metadata.requestId ?? '';
  } catch (error) {
    // KMS reports by an error that the call would have succeeded.
    const { name, requestId } = classifyKmsFailure(error);
    if (name === 'DryRunOperationException') return requestId;
    throw error;
  }
}

/** Refuses an answer with status 200 that is empty or has other JSON than expected. */
export function answerOf({ members, metadata }: JsonAnswer): {
  readonly masterKeyArn: string;
  readonly requestId: string;
} {
  const { requestId } = metadata;
  if (members['KeyId'] === undefined && requestId === undefined) throw new UnreadableAnswer(metadata);
  return { masterKeyArn: textOf(members['KeyId']), requestId: requestId ?? '' };
}

class UnreadableAnswer extends Error {
  override readonly name = 'UnreadableAnswer';
  readonly $metadata: JsonAnswer['metadata'];

  constructor($metadata: JsonAnswer['metadata']) {
    super(`HTTP ${$metadata.httpStatusCode}, no answer of KMS`);
    this.$metadata = $metadata;
  }
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Decodes into memory of its own, not of the pool for small buffers, because it is wiped as a whole. */
export function bytesOf(base64: unknown): Buffer {
  const text = textOf(base64);
  const bytes = Buffer.alloc(Buffer.byteLength(text, 'base64'));
  return bytes.subarray(0, bytes.write(text, 'base64'));
}

/** Converts seconds to milliseconds since 1970; returns undefined also for numbers beyond the range of dates. */
export function msOf(seconds: unknown): number | undefined {
  const ms = new Date(typeof seconds === 'number' ? seconds * 1000 : Number.NaN).getTime();
  return Number.isNaN(ms) ? undefined : ms;
}

export function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

export function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

function decryptInput({ wrapped, masterKeyArn, encryptionContext }: DecryptRequest): object {
  return {
    CiphertextBlob: base64Of(wrapped),
    ...(masterKeyArn === undefined ? {} : { KeyId: masterKeyArn }),
    ...contextMember(encryptionContext),
    EncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
  };
}

export function contextMember(context: EncryptionContext): { EncryptionContext?: EncryptionContext } {
  return isEmptyContext(context) ? {} : { EncryptionContext: context };
}
