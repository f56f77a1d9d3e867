import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { ChainLink } from './chain-log.ts';
import { CredentialFailure } from './failure.ts';
import { namesSource, problemOfProfile, readProfiles } from './profiles.ts';
import { unreadableSharedFile } from './shared-files.ts';

/** The configured source of credentials; `instance metadata` if none is configured. */
export type ConfiguredLink = 'environment' | ChainLink;

/**
 * Finds the link of the SDK's chain that the environment configures. The chain itself would continue with the next link
 * when that one fails or is incomplete, and end with the machine's own role, which nobody chose.
 * @throws CredentialFailure for a configuration that cannot work
 */
export async function configuredLink(environment: NodeJS.ProcessEnv): Promise<ConfiguredLink> {
  const { AWS_PROFILE: profile } = environment;
  if (!profile) {
    const partial = partialEnvironment(environment);
    if (partial !== undefined) throw partial;
    if (environment['AWS_ACCESS_KEY_ID']) return 'environment';
    if (environment['AWS_DEFAULT_PROFILE']) {
      throw new CredentialFailure('ProfileUnusable', 'AWS_DEFAULT_PROFILE is set, which is not read: set AWS_PROFILE');
    }
  }
  const unreadable = await unreadableSharedFile(environment, isCertainlyThere);
  if (unreadable !== undefined) throw unreadable;
  const profiles = await readProfiles(environment);
  if (profile || namesSource(profiles['default'])) {
    const problem = problemOfProfile(profile || 'default', profiles, environment);
    if (problem !== undefined) throw problem;
    return 'profile';
  }
  if (environment['AWS_WEB_IDENTITY_TOKEN_FILE']) return 'web identity';
  const isContainer =
    environment['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI'] || environment['AWS_CONTAINER_CREDENTIALS_FULL_URI'];
  return isContainer ? 'container' : 'instance metadata';
}

/** False also for a directory that may not be entered, which may not contain the file. */
async function isCertainlyThere(path: string): Promise<boolean> {
  return await access(dirname(path), constants.X_OK).then(
    () => true,
    () => false,
  );
}

function partialEnvironment(environment: NodeJS.ProcessEnv): CredentialFailure | undefined {
  const names = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'];
  const [present, ...more] = names.filter((name) => environment[name]);
  if (present === undefined || more.length > 0) return undefined;
  const absent = names.find((name) => name !== present);
  return new CredentialFailure('PartialEnvironment', `${present} is set and ${absent} is not`);
}
