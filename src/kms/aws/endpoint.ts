import { existsSync } from 'node:fs';
import { sharedFiles } from './credentials/shared-files.ts';
import type { Endpoint, EndpointVariants } from './sdk-endpoint.ts';

const VARIABLES = [
  'AWS_USE_FIPS_ENDPOINT',
  'AWS_USE_DUALSTACK_ENDPOINT',
  'AWS_ENDPOINT_URL',
  'AWS_ENDPOINT_URL_KMS',
] as const;

/** Regions of the partitions `aws` and `aws-us-gov`; other partitions have their own names and rules. */
const COMMON_REGION = /^(?:af|ap|ca|eu|il|me|mx|sa|us|us-gov)-(?:north|south|east|west|central)[a-z]*-\d+$/;

/**
 * Returns the KMS endpoint of a Region. The SDK, which takes long to load, is used only for uncommon Regions, and when
 * variables or shared files could matter.
 * @param endpointUrl empty: the Region's public endpoint
 * @param variants undefined: as the environment and the shared files configure
 */
export async function kmsEndpoint(
  region: string,
  endpointUrl: string,
  environment: NodeJS.ProcessEnv,
  variants?: EndpointVariants,
): Promise<Endpoint> {
  const isSilent =
    variants?.usesFips !== true &&
    variants?.usesDualstack !== true &&
    VARIABLES.every((name) => (environment[name] ?? '') === '') &&
    !sharedFiles(environment).some((path) => existsSync(path));
  if (isSilent && endpointUrl !== '') return { url: withSlash(endpointUrl), signingRegion: region };
  if (isSilent && COMMON_REGION.test(region)) {
    return { url: new URL(`https://kms.${region}.amazonaws.com/`), signingRegion: region };
  }
  return await (await import('./sdk-endpoint.ts')).sdkEndpoint(region, endpointUrl, variants);
}

/** KMS has one path, below that of the endpoint. */
function withSlash(endpointUrl: string): URL {
  const url = new URL(endpointUrl);
  url.pathname = url.pathname.replace(/\/?$/, '/');
  return url;
}
