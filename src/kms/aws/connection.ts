import type { Clock } from '../../clock.ts';
import type { Secrets } from '../../secrets.ts';
import { MOST_CALLS_AT_ONCE } from '../client.ts';
import { classifyKmsFailure, isCredentialFailure, refusedAt } from '../failures/classify.ts';
import type { Identity, IdentitySource } from './credentials/identity.ts';
import { kmsEndpoint } from './endpoint.ts';
import { transportTo } from './http/connect.ts';
import type { HttpAnswer, Transport } from './http/transport.ts';
import { exchange, type JsonAnswer, readJson } from './json-call.ts';
import type { Endpoint, EndpointVariants } from './sdk-endpoint.ts';
import { RequestSigner } from './sigv4.ts';

/** The parts of the environment that affect the connection to AWS. */
export interface AwsSurroundings {
  /** HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case. */
  readonly proxyEnvironment: NodeJS.ProcessEnv;
  /** Certificates in PEM to trust beside the usual ones. */
  readonly trustedCertificates: readonly string[] | undefined;
  /** The variables that the SDK reads: those of the process. Default: `proxyEnvironment`. */
  readonly environment?: NodeJS.ProcessEnv | undefined;
  readonly clock: Clock;
  /** Collects texts that must not leave the process. */
  readonly secrets: Secrets;
}

/** A Region and the endpoint of its KMS. */
export interface Place {
  readonly region: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
}

export interface Target extends Place {
  /** Undefined: as the environment and the shared files configure. */
  readonly variants?: EndpointVariants | undefined;
  /** Milliseconds until the connection is open. */
  readonly connectTimeoutMs: number;
  /** Milliseconds until the answer is complete. */
  readonly requestTimeoutMs: number;
}

/** For messages: `Region eu-central-1, endpoint https://…` */
export function describePlace({ region, endpointUrl }: Place): string {
  return `Region ${region}${endpointUrl === '' ? '' : `, endpoint ${endpointUrl}`}`;
}

/** The name that CloudTrail shows, and that policies may refer to (`aws:UserAgent`). */
const USER_AGENT = 'mariadb-aws-kms';

/** Milliseconds. AWS refuses signatures that are further off; half of that is no reason to doubt our clock. */
const SKEW_MS = 240_000;

interface Way extends Endpoint {
  readonly transport: Transport;
}

/**
 * KMS in one Region without the SDK's client, whose single call costs about as much as starting the agent. Connections
 * are opened by `prepare` and by calls, and kept open.
 */
export class KmsConnection {
  readonly #target: Target;
  readonly #identity: IdentitySource;
  readonly #surroundings: AwsSurroundings;
  #way: Promise<Way> | undefined;
  #known: Way | undefined;
  #signer: { readonly identity: Identity; readonly signer: RequestSigner } | undefined;
  /** Headers of each operation, before they are signed. */
  readonly #headers = new Map<string, Readonly<Record<string, string>>>();
  /** Milliseconds to add to our clock when the service's clock differs. */
  #clockOffsetMs = 0;

  constructor(target: Target, identity: IdentitySource, surroundings: AwsSurroundings) {
    this.#target = target;
    this.#identity = identity;
    this.#surroundings = surroundings;
  }

  /** Makes a call. Throws errors unchanged; `classifyKmsFailure` sorts them. */
  async call(operation: string, input: object, signal: AbortSignal): Promise<JsonAnswer> {
    const found = this.#identity.get(this.#wallMs);
    // A start makes thousands of calls, and waiting for what is known costs.
    const identity = found instanceof Promise ? await found : found;
    const way = this.#known ?? (await this.#find());
    const { url, signingRegion } = way;
    if (this.#signer?.identity !== identity) {
      const scope = { region: signingRegion, service: 'kms', path: url.pathname };
      this.#signer = { identity, signer: new RequestSigner(scope, identity) };
    }
    const body = JSON.stringify(input);
    const signedMs = this.#wallMs;
    const headers = this.#signer.signer.sign(this.#headersOf(url, operation), body, signedMs);
    try {
      return readJson(await this.#exchange(way, headers, body, signal));
    } catch (error) {
      const failure = classifyKmsFailure(error);
      const theirsMs = refusedAt(failure, error);
      if (theirsMs !== undefined) this.#correctClock(theirsMs, signedMs);
      if (isCredentialFailure(failure)) this.#identity.forget(identity);
      throw error;
    }
  }

  /** Makes an unsigned call, which KMS refuses, and returns any answer. The caller wipes the body. */
  async callUnsigned(operation: string, input: object, signal: AbortSignal): Promise<HttpAnswer> {
    const way = await this.#find();
    return await this.#exchange(way, this.#headersOf(way.url, operation), JSON.stringify(input), signal);
  }

  /** As `DataKeyClient.prepare`. */
  prepare(): void {
    const identity = async () => await this.#identity.get(this.#wallMs);
    const connected = async () => (await this.#find()).transport.prepare?.(this.#target.connectTimeoutMs);
    // The first call meets what fails here, and reports it.
    void Promise.allSettled([identity(), connected()]);
  }

  close(): void {
    void this.#way?.then(
      ({ transport }) => transport.close(),
      // The caller has already got the error.
      () => undefined,
    );
  }

  #exchange(
    { transport }: Way,
    headers: Readonly<Record<string, string>>,
    body: string,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const { connectTimeoutMs, requestTimeoutMs } = this.#target;
    const { clock } = this.#surroundings;
    const options = { transport, clock, connectTimeoutMs, requestTimeoutMs };
    return exchange(options, { ...headers, 'user-agent': USER_AGENT }, body, signal);
  }

  #headersOf({ host }: URL, operation: string): Readonly<Record<string, string>> {
    const known = this.#headers.get(operation);
    if (known !== undefined) return known;
    const headers = {
      host,
      'content-type': 'application/x-amz-json-1.1',
      'x-amz-target': `TrentService.${operation}`,
    };
    this.#headers.set(operation, headers);
    return headers;
  }

  #find(): Promise<Way> {
    this.#way ??= this.#makeWay().catch((error: unknown) => {
      this.#way = undefined;
      throw error;
    });
    return this.#way;
  }

  async #makeWay(): Promise<Way> {
    const { region, endpointUrl, variants } = this.#target;
    const { environment, proxyEnvironment } = this.#surroundings;
    const endpoint = await kmsEndpoint(region, endpointUrl, environment ?? proxyEnvironment, variants);
    const transport = await transportTo(endpoint.url, { ...this.#surroundings, maxSockets: MOST_CALLS_AT_ONCE });
    this.#known = { ...endpoint, transport };
    return this.#known;
  }

  get #wallMs(): number {
    return this.#surroundings.clock.wallMs() + this.#clockOffsetMs;
  }

  /**
   * Called only after a refused signature: a proxy may put any Date into any answer. If the signature's time agrees
   * with the answer's Date, that Date may be the wrong one, and our own clock is tried again.
   */
  #correctClock(theirsMs: number, signedMs: number): void {
    const oursMs = this.#surroundings.clock.wallMs();
    this.#clockOffsetMs = Math.abs(theirsMs - signedMs) >= SKEW_MS ? theirsMs - oursMs : 0;
  }
}
