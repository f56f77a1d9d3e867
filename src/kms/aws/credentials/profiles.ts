import { loadSharedConfigFiles, parseKnownFiles } from '@smithy/core/config';
import { CredentialFailure } from './failure.ts';
import { sharedFiles } from './shared-files.ts';
import { profileOf } from './source-name.ts';

export type Profile = Readonly<Record<string, string | undefined>>;
/**
 * Profiles by name, as the SDK reads them: the credentials file before the config file. `services.NAME` is a section,
 * too.
 */
export type Profiles = Readonly<Record<string, Profile | undefined>>;

const KEY_PARTS = ['aws_access_key_id', 'aws_secret_access_key'] as const;
const SSO = ['sso_session', 'sso_start_url', 'sso_account_id', 'sso_region', 'sso_role_name'];
/** Settings of a profile that show that it is meant to give credentials. */
const SOURCES = [
  ...KEY_PARTS,
  'aws_session_token',
  'role_arn',
  'source_profile',
  'credential_source',
  'web_identity_token_file',
  'credential_process',
  'login_session',
  ...SSO,
];

/** Reads both files. An unreadable file counts as empty, as in the SDK. */
export async function readProfiles(environment: NodeJS.ProcessEnv): Promise<Profiles> {
  const [configFilepath, filepath] = sharedFiles(environment);
  return await parseKnownFiles({ filepath, configFilepath, ignoreCache: true });
}

/** Reads the two files separately: a section of services counts in the config file only. */
export async function readSharedFiles(
  environment: NodeJS.ProcessEnv,
): Promise<{ readonly config: Profiles; readonly credentials: Profiles }> {
  const [configFilepath, filepath] = sharedFiles(environment);
  const { configFile, credentialsFile } = await loadSharedConfigFiles({ filepath, configFilepath, ignoreCache: true });
  return { config: configFile, credentials: credentialsFile };
}

export function namesSource(profile: Profile | undefined): boolean {
  return profile !== undefined && SOURCES.some((name) => profile[name] !== undefined);
}

export function notThere(name: string, environment: NodeJS.ProcessEnv): CredentialFailure {
  const [config, credentials] = sharedFiles(environment);
  const problem = `is not in ${config} or ${credentials}, or names no source of credentials there`;
  return new CredentialFailure('ProfileUnusable', `profile "${name}" ${problem}`);
}

/**
 * Returns the problem of a profile in itself, for which the SDK would silently take another source.
 * @param usedBy the profiles that lead to it by `source_profile`
 */
export function problemOfProfile(
  name: string,
  profiles: Profiles,
  environment: NodeJS.ProcessEnv,
  usedBy: readonly string[] = [],
): CredentialFailure | undefined {
  const profile = profiles[name];
  if (profile === undefined || !namesSource(profile)) return notThere(name, environment);
  const subject = profileOf({ AWS_PROFILE: name });
  const missing = KEY_PARTS.filter((part) => profile[part] === undefined);
  // A source profile may itself name a role; its own keys take precedence.
  if (usedBy.length > 0 && missing.length === 0) return undefined;
  const { role_arn: role, source_profile: source, credential_source: credentialSource } = profile;
  if (role !== undefined) {
    if (source !== undefined && credentialSource !== undefined) {
      return unusable(subject, 'has both source_profile and credential_source beside role_arn');
    }
    const isWebIdentity = profile['web_identity_token_file'] !== undefined;
    if (source === undefined && credentialSource === undefined && !isWebIdentity) {
      return unusable(subject, 'has role_arn and no source_profile, credential_source or web_identity_token_file');
    }
    if ((source ?? credentialSource) !== undefined && profile['mfa_serial'] !== undefined) {
      return new CredentialFailure('MfaRequired', `${subject} asks for a multi-factor code (mfa_serial)`);
    }
    // The SDK reports a circle.
    if (source === undefined || usedBy.includes(source)) return undefined;
    return problemOfProfile(source, profiles, environment, [...usedBy, name]);
  }
  const others = SOURCES.slice(KEY_PARTS.length + 1).filter((part) => profile[part] !== undefined);
  if (missing.length > 0 && others.length === 0) {
    const present = SOURCES.find((part) => profile[part] !== undefined);
    return new CredentialFailure('PartialProfile', `${subject} has ${present} and not ${missing.join(' and ')}`);
  }
  return undefined;
}

function unusable(subject: string, problem: string): CredentialFailure {
  return new CredentialFailure('ProfileUnusable', `${subject} ${problem}`);
}
