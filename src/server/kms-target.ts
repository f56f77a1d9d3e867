import type { Configuration } from './configuration.ts';
import type { KmsTarget, Surroundings } from './surroundings.ts';

/** Returns the endpoint and credentials that the server would use. */
export function kmsTarget(surroundings: Surroundings, configuration: Configuration, timeoutMs: number): KmsTarget {
  const isOwn = hasOwnCredentials(surroundings.environment, configuration);
  const { account } = configuration;
  return {
    region: configuration.region,
    endpointUrl: configuration.endpointUrl,
    stsEndpointUrl: configuration.stsEndpointUrl,
    timeoutMs: configuration.requestTimeoutMs || timeoutMs,
    sharedFiles: isOwn ? undefined : sharedFilesOf(surroundings, configuration),
    as: surroundings.uid === 0 && account.uid !== 0 && !isOwn ? account : undefined,
  };
}

const SECRETS = [
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'AWS_CONTAINER_AUTHORIZATION_TOKEN',
];

/**
 * Tells whether the caller's environment has credentials set by hand: then no program of the server's user may see
 * them, and none of its files may redirect them.
 */
function hasOwnCredentials(environment: NodeJS.ProcessEnv, { service: { variables } }: Configuration): boolean {
  return SECRETS.some((name) => environment[name] && environment[name] !== variables.get(name)?.value);
}

/** The paths of the shared files of the server's user. */
export function sharedFilePaths(
  { environment }: Surroundings,
  { account }: Pick<Configuration, 'account'>,
): readonly [credentials: string, config: string] {
  return [
    environment['AWS_SHARED_CREDENTIALS_FILE'] ?? `${account.home}/.aws/credentials`,
    environment['AWS_CONFIG_FILE'] ?? `${account.home}/.aws/config`,
  ];
}

/** For root, the paths in the home of the server's user. */
function sharedFilesOf(
  surroundings: Surroundings,
  configuration: Configuration,
): { credentials: string; config: string } | undefined {
  if (surroundings.uid === configuration.account.uid) return undefined;
  const [credentials, config] = sharedFilePaths(surroundings, configuration);
  return { credentials, config };
}
