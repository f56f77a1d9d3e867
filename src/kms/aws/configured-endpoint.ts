import { KeyError } from '../../errors.ts';
import { problemOfEndpointUrl } from '../../format/endpoint-url.ts';
import { areSharedFilesThere, sharedFiles } from './credentials/shared-files.ts';

const KMS_VARIABLES = ['AWS_ENDPOINT_URL_KMS', 'AWS_ENDPOINT_URL'] as const;
/** Variables for endpoints of the services that issue credentials. */
const OTHER_VARIABLES = [
  'AWS_ENDPOINT_URL_STS',
  'AWS_ENDPOINT_URL_SSO',
  'AWS_ENDPOINT_URL_SSO_OIDC',
  'AWS_ENDPOINT_URL_SIGNIN',
] as const;

export interface ConfiguredEndpoint {
  readonly url: string;
  /** The source's name in messages. */
  readonly from: string;
}

/**
 * Returns the KMS endpoint that the environment or the profile names, by the SDK's rules; undefined: the Region's
 * public one. Unlike the SDK, refuses a profile whose section of services is missing, instead of using the public
 * endpoint silently.
 * @throws KeyError BAD_OPTION
 */
export async function configuredEndpoint(environment: NodeJS.ProcessEnv): Promise<ConfiguredEndpoint | undefined> {
  for (const name of [...KMS_VARIABLES, ...OTHER_VARIABLES]) check(name, environment[name]);
  if (environment['AWS_IGNORE_CONFIGURED_ENDPOINT_URLS'] === 'true') return undefined;
  const fromProfile = await endpointOfProfile(environment);
  if (fromProfile === 'ignored') return undefined;
  for (const name of KMS_VARIABLES) {
    const url = environment[name];
    if (url) return { url, from: name };
  }
  return fromProfile?.();
}

async function endpointOfProfile(
  environment: NodeJS.ProcessEnv,
): Promise<'ignored' | (() => ConfiguredEndpoint | undefined) | undefined> {
  // Avoid loading the module that reads profiles.
  if (!(await areSharedFilesThere(environment))) return undefined;
  const { readSharedFiles } = await import('./credentials/profiles.ts');
  const { config, credentials } = await readSharedFiles(environment);
  const name = environment['AWS_PROFILE'] || 'default';
  const profile = { ...credentials[name], ...config[name] };
  if (profile['ignore_configured_endpoint_urls'] === 'true') return 'ignored';
  return () => {
    const { services, endpoint_url: own } = profile;
    const section = services === undefined ? undefined : config[`services.${services}`];
    if (services !== undefined && section === undefined) {
      throw new KeyError(
        'BAD_OPTION',
        `profile "${name}" names services = ${services}, and there is no [services ${services}]`,
        {
          hint: `write the section [services ${services}] into ${sharedFiles(environment)[0]}, or set aws_key_management_endpoint_url`,
        },
      );
    }
    const url = section?.['kms.endpoint_url'] ?? own;
    const from =
      section?.['kms.endpoint_url'] === undefined ? `endpoint_url of profile "${name}"` : `[services ${services}]`;
    check(from, url);
    return url === undefined ? undefined : { url, from };
  };
}

function check(name: string, url: string | undefined): void {
  const problem = url ? problemOfEndpointUrl(url) : undefined;
  if (problem !== undefined) throw new KeyError('BAD_OPTION', `${name}: ${problem}`, { hint: `correct ${name}` });
}
