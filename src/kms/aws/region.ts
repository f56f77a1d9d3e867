import { KeyError } from '../../errors.ts';
import { REGION, REGION_EXPECTED } from '../../format/region.ts';
import { areSharedFilesThere } from './credentials/shared-files.ts';

const FALLBACK_REGION = 'us-east-1';

/**
 * The Region when aws_key_management_region is empty: AWS_REGION, then the profile, as in the SDK; then
 * AWS_DEFAULT_REGION, which other AWS tools read; then us-east-1.
 * @throws KeyError BAD_OPTION for a malformed Region
 */
export async function chosenRegion(environment: NodeJS.ProcessEnv): Promise<string> {
  const { AWS_REGION: own, AWS_DEFAULT_REGION: last } = environment;
  if (own) return checked('AWS_REGION', own);
  const inProfile = await regionOfProfile(environment);
  if (inProfile !== undefined) return checked(...inProfile);
  return last ? checked('AWS_DEFAULT_REGION', last) : FALLBACK_REGION;
}

async function regionOfProfile(
  environment: NodeJS.ProcessEnv,
): Promise<readonly [where: string, region: string] | undefined> {
  // Avoid loading the module that reads profiles.
  if (!(await areSharedFilesThere(environment))) return undefined;
  const { readProfiles } = await import('./credentials/profiles.ts');
  const name = environment['AWS_PROFILE'] || 'default';
  const region = (await readProfiles(environment))[name]?.['region'];
  return region === undefined ? undefined : [`region of profile "${name}"`, region];
}

function checked(where: string, region: string): string {
  if (REGION.test(region)) return region;
  throw new KeyError('BAD_OPTION', `${where}: expected ${REGION_EXPECTED}, got ${JSON.stringify(region)}`, {
    hint: `correct ${where}, or set aws_key_management_region`,
  });
}
