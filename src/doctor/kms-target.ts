import type { Configuration } from './configuration.ts';
import type { KmsTarget, Surroundings } from './surroundings.ts';

/** Where the server would find KMS and its credentials. */
export function kmsTarget(surroundings: Surroundings, configuration: Configuration, timeoutMs: number): KmsTarget {
  return {
    region: configuration.region,
    endpointUrl: configuration.endpointUrl,
    stsEndpointUrl: configuration.stsEndpointUrl,
    timeoutMs: configuration.requestTimeoutMs || timeoutMs,
    sharedFiles: sharedFilesOf(surroundings, configuration),
  };
}

/** Root looks where the server's user would: in that user's home. */
function sharedFilesOf(
  { uid, environment }: Surroundings,
  { account }: Configuration,
): { credentials: string; config: string } | undefined {
  if (uid === account.uid) return undefined;
  return {
    credentials: environment['AWS_SHARED_CREDENTIALS_FILE'] ?? `${account.home}/.aws/credentials`,
    config: environment['AWS_CONFIG_FILE'] ?? `${account.home}/.aws/config`,
  };
}
