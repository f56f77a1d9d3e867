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

/** The shared files of the server's user. */
export function sharedFilePaths(
  { environment }: Surroundings,
  { account }: Configuration,
): readonly [credentials: string, config: string] {
  return [
    environment['AWS_SHARED_CREDENTIALS_FILE'] ?? `${account.home}/.aws/credentials`,
    environment['AWS_CONFIG_FILE'] ?? `${account.home}/.aws/config`,
  ];
}

/** Root looks where the server's user would: in that user's home. */
function sharedFilesOf(
  surroundings: Surroundings,
  configuration: Configuration,
): { credentials: string; config: string } | undefined {
  if (surroundings.uid === configuration.account.uid) return undefined;
  const [credentials, config] = sharedFilePaths(surroundings, configuration);
  return { credentials, config };
}
