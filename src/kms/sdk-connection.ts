import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { KMSClient } from '@aws-sdk/client-kms';
import type { DefaultProviderInit } from '@aws-sdk/credential-provider-node';
import type { Secrets } from '../secrets.ts';
import { credentialChain } from './credentials/chain.ts';
import { RecordingHandler } from './recording-handler.ts';

/** Durations are milliseconds. */
export interface SdkConnectionOptions {
  readonly region: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
  /** Of a run of the whole credential chain. */
  readonly credentialsTimeoutMs: number;
  /** Undefined: as many as are wanted. */
  readonly maxSockets?: number | undefined;
  /** HTTP_PROXY, HTTPS_PROXY, NO_PROXY, in either case. */
  readonly proxyEnvironment: NodeJS.ProcessEnv;
  /** Where the SDK finds the variables of its credential chain, to explain failures. */
  readonly environment: NodeJS.ProcessEnv;
  /** PEM certificates to trust; undefined: the usual ones. */
  readonly trustedCertificates: readonly string[] | undefined;
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
  const { endpointUrl, maxSockets, trustedCertificates, sharedFiles, profile, environment, secrets } = options;
  const agentOptions = {
    keepAlive: true,
    proxyEnv: options.proxyEnvironment,
    ...(maxSockets === undefined ? {} : { maxSockets }),
  };
  const connection = {
    // Retries are ours: they need the deadline, the clock and the log.
    maxAttempts: 1,
    requestHandler: new RecordingHandler(
      {
        connectionTimeout: options.connectTimeoutMs,
        requestTimeout: options.requestTimeoutMs,
        throwOnRequestTimeout: true,
        httpAgent: new HttpAgent(agentOptions),
        httpsAgent: new HttpsAgent({
          ...agentOptions,
          ...(trustedCertificates === undefined ? {} : { ca: [...trustedCertificates] }),
        }),
      },
      secrets,
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

const FALLBACK_REGION = 'us-east-1';

/** AWS_REGION, the profile, then us-east-1. */
export async function regionOfChain(): Promise<string> {
  const client = new KMSClient({});
  try {
    return await client.config.region();
  } catch {
    return FALLBACK_REGION;
  } finally {
    client.destroy();
  }
}
