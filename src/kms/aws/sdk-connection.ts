import type { DefaultProviderInit } from '@aws-sdk/credential-provider-node';
import type { Clock } from '../../clock.ts';
import type { Secrets } from '../../secrets.ts';
import { type AgentOptions, keepAliveAgents } from './agents.ts';
import { credentialChain } from './credentials/chain.ts';
import type { Identity } from './credentials/identity.ts';
import { proxyGateOf } from './proxy-gate.ts';
import { RecordingHandler } from './recording-handler.ts';
import type { EndpointVariants } from './sdk-endpoint.ts';

/** Durations are milliseconds. */
export interface SdkConnectionOptions extends AgentOptions {
  readonly region: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** Milliseconds for a run of the whole credential chain. */
  readonly credentialsTimeoutMs: number;
  readonly clock: Clock;
  /** Variables of the SDK's credential chain, to explain failures. */
  readonly environment: NodeJS.ProcessEnv;
  /** Collects secrets that this connection uses. */
  readonly secrets: Secrets;
  /** Shared files to read instead of those in the home directory; undefined: the SDK's default paths. */
  readonly sharedFiles?: { readonly credentials: string; readonly config: string } | undefined;
  /** A profile of the shared files; undefined: AWS_PROFILE, then `default`. */
  readonly profile?: string | undefined;
}

/** The connection and identity of the SDK's clients. */
export type SdkConnection = ReturnType<typeof sdkConnection>;

export function sdkConnection(options: SdkConnectionOptions) {
  const { endpointUrl, sharedFiles, profile, environment, clock, secrets } = options;
  const agents = keepAliveAgents(options);
  const connection = {
    // The caller retries: it knows the deadline, the clock and the log.
    maxAttempts: 1,
    requestHandler: new RecordingHandler(
      {
        connectionTimeout: options.connectTimeoutMs,
        requestTimeout: options.requestTimeoutMs,
        throwOnRequestTimeout: true,
        httpAgent: agents.http,
        httpsAgent: agents.https,
      },
      secrets,
      proxyGateOf(options.proxyEnvironment, clock),
    ),
  };
  const choices = {
    ...(sharedFiles === undefined ? {} : { filepath: sharedFiles.credentials, configFilepath: sharedFiles.config }),
    ...(profile === undefined ? {} : { profile }),
  };
  return {
    region: options.region,
    ...(endpointUrl === '' ? {} : { endpoint: endpointUrl }),
    credentialDefaultProvider: (init: DefaultProviderInit) =>
      credentialChain(
        { ...init, ...choices },
        { environment, clientConfig: connection, timeoutMs: options.credentialsTimeoutMs, clock, secrets },
      ),
    ...connection,
  };
}

/** The SDK's credential chain, as its own clients set it up. */
export function chainOf(connection: SdkConnection): () => Promise<Identity> {
  const { region, credentialDefaultProvider, requestHandler, maxAttempts } = connection;
  // The settings that the SDK's own clients pass to the credential chain.
  const caller = { region: async () => region, requestHandler, maxAttempts };
  const provider = credentialDefaultProvider({ parentClientConfig: caller });
  return () => provider({ callerClientConfig: caller });
}

export interface CommandConnectionOptions {
  readonly region: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
  /** Milliseconds for connecting and for each request. */
  readonly timeoutMs: number;
  /** Shared files to read instead of those in the home directory; undefined: the SDK's default paths. */
  readonly sharedFiles: { readonly credentials: string; readonly config: string } | undefined;
  /** A profile of the shared files; undefined: AWS_PROFILE, then `default`. */
  readonly profile?: string | undefined;
  /** The variables that the SDK reads: proxies, and the credential chain's, to explain failures. */
  readonly environment: NodeJS.ProcessEnv;
  /** Certificates in PEM to trust beside the usual ones. */
  readonly trustedCertificates: readonly string[] | undefined;
  readonly clock: Clock;
  /** Collects texts that must not leave the process. */
  readonly secrets: Secrets;
  /** Undefined: as the environment and the shared files have it. */
  readonly variants?: EndpointVariants | undefined;
}

/** Milliseconds for a run of the whole credential chain. */
const COMMAND_CREDENTIALS_MS = 8_000;

/** How the SDK's clients connect in commands. */
export function commandConnection(
  options: CommandConnectionOptions,
): SdkConnection & { readonly useFipsEndpoint?: boolean; readonly useDualstackEndpoint?: boolean } {
  const { timeoutMs, environment, variants } = options;
  const connection = sdkConnection({
    ...options,
    connectTimeoutMs: timeoutMs,
    requestTimeoutMs: timeoutMs,
    credentialsTimeoutMs: COMMAND_CREDENTIALS_MS,
    proxyEnvironment: environment,
  });
  if (variants === undefined) return connection;
  return { ...connection, useFipsEndpoint: variants.usesFips, useDualstackEndpoint: variants.usesDualstack };
}
