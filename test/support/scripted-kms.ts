import { createHash } from 'node:crypto';
import type {
  Answer,
  DecryptedKey,
  DecryptRequest,
  GeneratedKey,
  GenerateRequest,
  KmsClient,
  KmsOperation,
  MasterKeyDescription,
} from '../../src/kms/client.ts';

export const MASTER_KEY_ARN = 'arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
export const OTHER_ARN: string = MASTER_KEY_ARN.replace('1234abcd', '9999abcd');
/** The ARN of a multi-Region key. */
export const MULTI_REGION_ARN = 'arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab';

/** An error as the AWS SDK throws it. */
export function kmsError(name: string, message = `${name} message`, status = 400): Error {
  return Object.assign(new Error(message), {
    name,
    $metadata: { httpStatusCode: status, requestId: `request-of-${name}` },
  });
}

/** A KMS whose answers a test controls: `on` may throw, wait, or change the answer; by default calls succeed. */
export class ScriptedKms implements KmsClient {
  readonly region: string = 'us-east-1';
  readonly description = 'a scripted KMS';
  isClosed = false;
  readonly calls: { readonly operation: KmsOperation; readonly request: GenerateRequest | DecryptRequest }[] = [];
  inFlight = 0;
  mostInFlight = 0;
  /** Runs inside every call; an error that it throws becomes KMS's answer. */
  on: (operation: KmsOperation, call: number, request: GenerateRequest | DecryptRequest) => Promise<void> | void = () =>
    undefined;
  /** Changes an answer of Decrypt. */
  answer: (answer: DecryptedKey) => DecryptedKey = (answer) => answer;
  #made = 0;

  async generateWrappedKey(request: GenerateRequest, signal: AbortSignal): Promise<GeneratedKey> {
    return await this.#call('GenerateDataKeyWithoutPlaintext', request, signal, () => {
      this.#made += 1;
      const length = request.keySpec === 'AES_128' ? 16 : 32;
      return { wrapped: wrappedKey(`made ${this.#made}`, length), masterKeyArn: MASTER_KEY_ARN, requestId: 'generate' };
    });
  }

  async decrypt(request: DecryptRequest, signal: AbortSignal): Promise<DecryptedKey> {
    return await this.#call('Decrypt', request, signal, () => {
      const masterKeyArn = request.masterKeyArn ?? MASTER_KEY_ARN;
      return this.answer({ plaintext: dataKey(request.wrapped), masterKeyArn, requestId: 'decrypt' });
    });
  }

  /** The answer to DescribeKey; undefined: the call is denied. */
  masterKey: MasterKeyDescription | undefined;

  async probe(request: DecryptRequest, signal: AbortSignal): Promise<Answer> {
    const { masterKeyArn = MASTER_KEY_ARN } = request;
    return await this.#call('Decrypt', request, signal, () => ({ masterKeyArn, requestId: 'probe' }));
  }

  async describeKey(): Promise<MasterKeyDescription> {
    if (this.masterKey === undefined) throw kmsError('AccessDeniedException');
    return this.masterKey;
  }

  close(): void {
    this.isClosed = true;
  }

  async #call<T>(
    operation: KmsOperation,
    request: GenerateRequest | DecryptRequest,
    signal: AbortSignal,
    answer: () => T,
  ): Promise<T> {
    signal.throwIfAborted();
    this.calls.push({ operation, request });
    this.inFlight += 1;
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight);
    const aborted = Promise.withResolvers<never>();
    aborted.promise.catch(() => undefined);
    signal.addEventListener('abort', () => aborted.reject(signal.reason), { once: true });
    try {
      await Promise.race([this.on(operation, this.calls.length, request), aborted.promise]);
      return answer();
    } finally {
      this.inFlight -= 1;
    }
  }
}

/** The same KMS in the Region that a server fails over to. */
export class OtherRegionKms extends ScriptedKms {
  override readonly region = 'eu-west-1';
}

/** A wrapped key that `dataKey` can open. */
export function wrappedKey(name: string, length: 16 | 32 = 16): Buffer {
  return Buffer.from(`wrapped:${length}:${name}`);
}

export function dataKey(wrapped: Uint8Array): Buffer {
  const [, length] = Buffer.from(wrapped).toString().split(':');
  return createHash('sha256').update(wrapped).digest().subarray(0, Number(length));
}
