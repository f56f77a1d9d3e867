import { type EncryptionContext, isEmptyContext } from '../../format/encryption-context.ts';
import type { Secrets } from '../../secrets.ts';
import { type DecryptRequest, type KmsClient, MOST_CALLS_AT_ONCE } from '../client.ts';
import { classifyKmsFailure, isCredentialFailure, refusedAt } from '../failures/classify.ts';
import { configuredEndpoint } from './configured-endpoint.ts';
import { type Identity, IdentitySource } from './credentials/identity.ts';
import { kmsEndpoint } from './endpoint.ts';
import { transportTo } from './http/connect.ts';
import type { Transport } from './http/transport.ts';
import { callJson, type JsonAnswer, type Metadata } from './json-call.ts';
import { proxiesOf } from './proxies.ts';
import { chosenRegion } from './region.ts';
import type { Endpoint } from './sdk-endpoint.ts';
import { RequestSigner } from './sigv4.ts';

export interface AwsOptions {
  /** Empty: as `chosenRegion` has it. */
  readonly region: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
  /** Milliseconds for connecting and for each attempt; 0 takes the defaults below. */
  readonly requestTimeoutMs: number;
}

/** What the surroundings of the process say about the way to AWS. */
export interface AwsSurroundings {
  /** HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, in either case. */
  readonly proxyEnvironment: NodeJS.ProcessEnv;
  /** PEM certificates to trust; undefined: the usual ones. */
  readonly trustedCertificates: readonly string[] | undefined;
  /** Where the SDK finds its variables: those of the process. Default: `proxyEnvironment`. */
  readonly environment?: NodeJS.ProcessEnv | undefined;
  /** Learns what must not leave the process. */
  readonly secrets: Secrets;
}

const CONNECT_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
/** Requests that a run of the credential chain may need, one after the other: role upon role, or a token and then them. */
const CREDENTIAL_REQUESTS = 3;

/**
 * KMS without the SDK's client: one of its calls costs about as much as starting the agent. The SDK still says who we are
 * and where KMS is, and is loaded when that takes more than a look at the environment. Makes no request until it is asked
 * to.
 * @throws KeyError BAD_OPTION for what the environment or the profile says of Region, endpoint and proxies and cannot be used
 */
export async function createAwsKmsClient(options: AwsOptions, surroundings: AwsSurroundings): Promise<KmsClient> {
  const environment = surroundings.environment ?? surroundings.proxyEnvironment;
  proxiesOf(surroundings.proxyEnvironment);
  const region = options.region || (await chosenRegion(environment));
  if (options.endpointUrl === '') await configuredEndpoint(environment);
  const connection = new Connection({ ...options, region }, surroundings);
  return {
    async generateWrappedKey({ masterKeyId, keySpec, encryptionContext }, signal) {
      const input = { KeyId: masterKeyId, KeySpec: keySpec, ...contextMember(encryptionContext) };
      const { members, metadata } = await connection.call('GenerateDataKeyWithoutPlaintext', input, signal);
      return { wrapped: bytesOf(members['CiphertextBlob']), ...answerOf(members, metadata) };
    },
    async decrypt(request, signal) {
      const { members, metadata } = await connection.call('Decrypt', decryptInput(request), signal);
      return { plaintext: bytesOf(members['Plaintext']), ...answerOf(members, metadata) };
    },
    async probe(request, signal) {
      const masterKeyArn = request.masterKeyArn ?? '';
      try {
        const { metadata } = await connection.call('Decrypt', { ...decryptInput(request), DryRun: true }, signal);
        return { masterKeyArn, requestId: metadata.requestId ?? '' };
      } catch (error) {
        // How KMS says that the call would have succeeded.
        const { name, requestId } = classifyKmsFailure(error);
        if (name !== 'DryRunOperationException') throw error;
        return { masterKeyArn, requestId };
      }
    },
    async describeMasterKey(arn, signal) {
      const { members } = await connection.call('DescribeKey', { KeyId: arn }, signal);
      const key = recordOf(members['KeyMetadata']);
      return { state: textOf(key['KeyState']), deletionDate: dateOf(key['DeletionDate']) };
    },
    region,
    description: `Region ${region}${options.endpointUrl === '' ? '' : `, endpoint ${options.endpointUrl}`}`,
    close: () => connection.close(),
  };
}

type Operation = 'GenerateDataKeyWithoutPlaintext' | 'Decrypt' | 'DescribeKey';

/** That CloudTrail shows, and that policies may name (`aws:UserAgent`). */
const USER_AGENT = 'mariadb-aws-kms';

/** Beyond that, AWS says that a request is of another time; half of it is no cause to doubt our clock. */
const SKEW_MS = 240_000;

interface Way extends Endpoint {
  readonly transport: Transport;
}

/** KMS in one Region, over connections that are kept. */
class Connection {
  readonly #options: AwsOptions;
  readonly #surroundings: AwsSurroundings;
  readonly #identity: IdentitySource;
  #way: Promise<Way> | undefined;
  #signer: { readonly identity: Identity; readonly signer: RequestSigner } | undefined;
  /** To be added to our clock, when the service's is another. */
  #clockOffsetMs = 0;

  constructor(options: AwsOptions, surroundings: AwsSurroundings) {
    const { environment = surroundings.proxyEnvironment, secrets } = surroundings;
    this.#options = options;
    this.#surroundings = surroundings;
    this.#identity = new IdentitySource(() => credentialsOf(options, surroundings), environment, secrets);
  }

  async call(operation: Operation, input: object, signal: AbortSignal): Promise<JsonAnswer> {
    const { requestTimeoutMs } = this.#options;
    const identity = await this.#identity.get(this.#wallMs);
    this.#way ??= this.#find().catch((error: unknown) => {
      this.#way = undefined;
      throw error;
    });
    const { url, signingRegion, transport } = await this.#way;
    if (this.#signer?.identity !== identity) {
      const scope = { region: signingRegion, service: 'kms', path: url.pathname };
      this.#signer = { identity, signer: new RequestSigner(scope, identity) };
    }
    const body = JSON.stringify(input);
    const signedMs = this.#wallMs;
    const headers = this.#signer.signer.sign(
      {
        host: url.host,
        'content-type': 'application/x-amz-json-1.1',
        'x-amz-target': `TrentService.${operation}`,
      },
      body,
      signedMs,
    );
    const options = {
      transport,
      connectTimeoutMs: requestTimeoutMs || CONNECT_TIMEOUT_MS,
      requestTimeoutMs: requestTimeoutMs || REQUEST_TIMEOUT_MS,
    };
    try {
      return await callJson(options, { ...headers, 'user-agent': USER_AGENT }, body, signal);
    } catch (error) {
      const theirsMs = refusedAt(error);
      if (theirsMs !== undefined) this.#correctClock(theirsMs, signedMs);
      if (isCredentialFailure(classifyKmsFailure(error))) this.#identity.forget(identity);
      throw error;
    }
  }

  close(): void {
    void this.#way?.then(
      ({ transport }) => transport.close(),
      // Whoever called was told.
      () => undefined,
    );
  }

  async #find(): Promise<Way> {
    const { region, endpointUrl } = this.#options;
    const { environment, proxyEnvironment } = this.#surroundings;
    const endpoint = await kmsEndpoint(region, endpointUrl, environment ?? proxyEnvironment);
    return {
      ...endpoint,
      transport: await transportTo(endpoint.url, { ...this.#surroundings, maxSockets: MOST_CALLS_AT_ONCE }),
    };
  }

  get #wallMs(): number {
    return Date.now() + this.#clockOffsetMs;
  }

  /**
   * After a signature was refused, and only then: a proxy may put any Date into any answer. When the time that was signed
   * with agrees with the answer's Date, that Date may be what is wrong, and our own clock is tried again.
   */
  #correctClock(theirsMs: number, signedMs: number): void {
    this.#clockOffsetMs = Math.abs(theirsMs - signedMs) >= SKEW_MS ? theirsMs - Date.now() : 0;
  }
}

async function credentialsOf(
  { region, endpointUrl, requestTimeoutMs }: AwsOptions,
  surroundings: AwsSurroundings,
): Promise<() => Promise<Identity>> {
  const { sdkConnection } = await import('./sdk-connection.ts');
  const requestTimeout = requestTimeoutMs || REQUEST_TIMEOUT_MS;
  const { credentialDefaultProvider, requestHandler, maxAttempts } = sdkConnection({
    ...surroundings,
    region,
    endpointUrl,
    connectTimeoutMs: requestTimeoutMs || CONNECT_TIMEOUT_MS,
    requestTimeoutMs: requestTimeout,
    credentialsTimeoutMs: requestTimeout * CREDENTIAL_REQUESTS,
    environment: surroundings.environment ?? surroundings.proxyEnvironment,
  });
  // What the SDK's own clients tell the chain about themselves.
  const caller = { region: async () => region, requestHandler, maxAttempts };
  const provider = credentialDefaultProvider({ parentClientConfig: caller });
  return () => provider({ callerClientConfig: caller });
}

/** What has status 200 and is empty, or is JSON of something else. */
function answerOf(
  members: JsonAnswer['members'],
  metadata: Metadata,
): { readonly masterKeyArn: string; readonly requestId: string } {
  const { requestId } = metadata;
  if (members['KeyId'] === undefined && requestId === undefined) throw new UnreadableAnswer(metadata);
  return { masterKeyArn: textOf(members['KeyId']), requestId: requestId ?? '' };
}

class UnreadableAnswer extends Error {
  override readonly name = 'UnreadableAnswer';
  readonly $metadata: Metadata;

  constructor($metadata: Metadata) {
    super(`HTTP ${$metadata.httpStatusCode}, no answer of KMS`);
    this.$metadata = $metadata;
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Not out of the pool that small buffers share: it is wiped as a whole. */
function bytesOf(base64: unknown): Buffer {
  const text = textOf(base64);
  const bytes = Buffer.alloc(Buffer.byteLength(text, 'base64'));
  return bytes.subarray(0, bytes.write(text, 'base64'));
}

/** Of seconds since 1970; undefined also for a number that no date has. */
function dateOf(seconds: unknown): Date | undefined {
  const date = new Date(typeof seconds === 'number' ? seconds * 1000 : Number.NaN);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function decryptInput({ wrapped, masterKeyArn, encryptionContext }: DecryptRequest): object {
  return {
    CiphertextBlob: Buffer.from(wrapped.buffer, wrapped.byteOffset, wrapped.byteLength).toString('base64'),
    ...(masterKeyArn === undefined ? {} : { KeyId: masterKeyArn }),
    ...contextMember(encryptionContext),
    EncryptionAlgorithm: 'SYMMETRIC_DEFAULT',
  };
}

function contextMember(context: EncryptionContext): { EncryptionContext?: EncryptionContext } {
  return isEmptyContext(context) ? {} : { EncryptionContext: context };
}
