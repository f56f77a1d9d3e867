import type { DefaultProviderInit } from '@aws-sdk/credential-provider-node';
import type { Secrets } from '../../secrets.ts';
import { type AgentOptions, keepAliveAgents } from './agents.ts';
import { credentialChain } from './credentials/chain.ts';
import { proxyGateOf } from './proxy-gate.ts';
import { RecordingHandler } from './recording-handler.ts';

/** Durations are milliseconds. */
export interface SdkConnectionOptions extends AgentOptions {
  readonly region: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** Of a run of the whole credential chain. */
  readonly credentialsTimeoutMs: number;
  /** Where the SDK finds the variables of its credential chain, to explain failures. */
  readonly environment: NodeJS.ProcessEnv;
  /** Learns what this connection uses. */
  readonly secrets: Secrets;
  /** Shared files to read instead of those in the home directory; undefined: the SDK's own way to them. */
  readonly sharedFiles?: { readonly credentials: string; readonly config: string } | undefined;
  /** Of the shared files; undefined: AWS_PROFILE, then `default`. */
  readonly profile?: string | undefined;
}

/** How the SDK's clients connect, and as whom. */
export type SdkConnection = ReturnType<typeof sdkConnection>;

export function sdkConnection(options: SdkConnectionOptions) {
  const { endpointUrl, sharedFiles, profile, environment, secrets } = options;
  const agents = keepAliveAgents(options);
  const connection = {
    // Retries are ours: they need the deadline, the clock and the log.
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
      proxyGateOf(options.proxyEnvironment),
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
        { environment, clientConfig: connection, timeoutMs: options.credentialsTimeoutMs, secrets },
      ),
    ...connection,
  };
}
