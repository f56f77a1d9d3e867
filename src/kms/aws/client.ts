import type { KmsClient, MasterKey } from '../client.ts';
import { configuredEndpoint } from './configured-endpoint.ts';
import { type AwsSurroundings, describePlace, KmsConnection } from './connection.ts';
import { type Identity, IdentitySource } from './credentials/identity.ts';
import { keyCalls } from './key-calls.ts';
import { proxiesOf } from './proxies.ts';
import { chosenRegion } from './region.ts';

export interface AwsOptions {
  /** The Region; empty: see `chosenRegion`. */
  readonly region: string;
  /** Empty: the Region's public endpoint. */
  readonly endpointUrl: string;
  /** Milliseconds for connecting and for each attempt; 0 takes the defaults below. */
  readonly requestTimeoutMs: number;
}

/** Region, endpoint and credentials that were found elsewhere, in place of those of the environment. */
export interface ServiceChain extends Pick<AwsOptions, 'region' | 'endpointUrl'> {
  readonly trustedCertificates: readonly string[] | undefined;
  readonly credentials: () => Promise<Identity>;
}

/** A server's client of AWS KMS, which describes a master key in full. */
export interface AwsKmsClient extends KmsClient {
  describeKey(keyId: string, signal: AbortSignal): Promise<MasterKey>;
}

const CONNECT_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 10_000;
/** The most consecutive requests of the credential chain: role upon role, or a token and then roles. */
const CREDENTIAL_REQUESTS = 3;

/**
 * A server's client of KMS. The SDK still determines identity and endpoint, and is loaded only if that takes more than
 * the environment. Sends nothing until `prepare` or the first call.
 * @param credentials replaces the SDK's credential chain
 * @throws KeyError BAD_OPTION for unusable settings of Region, endpoint and proxies in the environment or profile
 */
export async function createAwsKmsClient(
  options: AwsOptions,
  surroundings: AwsSurroundings,
  credentials?: () => Promise<Identity>,
): Promise<AwsKmsClient> {
  const { endpointUrl } = options;
  const environment = surroundings.environment ?? surroundings.proxyEnvironment;
  proxiesOf(surroundings.proxyEnvironment);
  const region = options.region || (await chosenRegion(environment));
  if (endpointUrl === '') await configuredEndpoint(environment);
  const target = {
    region,
    endpointUrl,
    connectTimeoutMs: options.requestTimeoutMs || CONNECT_TIMEOUT_MS,
    requestTimeoutMs: options.requestTimeoutMs || REQUEST_TIMEOUT_MS,
  };
  const chain = async () => {
    if (credentials !== undefined) return credentials;
    const { chainOf, sdkConnection } = await import('./sdk-connection.ts');
    const credentialsTimeoutMs = target.requestTimeoutMs * CREDENTIAL_REQUESTS;
    return chainOf(sdkConnection({ ...surroundings, ...target, environment, credentialsTimeoutMs }));
  };
  const identity = new IdentitySource(chain, environment, surroundings.secrets);
  const connection = new KmsConnection(target, identity, surroundings);
  return {
    ...keyCalls(connection),
    region,
    description: describePlace(target),
    prepare: () => connection.prepare(),
    close: () => connection.close(),
  };
}
