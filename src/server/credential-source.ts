export const ENVIRONMENT_SOURCE = 'AWS_* variables of the environment';
export const FILE_SOURCE = 'the shared credentials file';
export const SSO_SOURCE = 'an SSO session';
export const LOGIN_SOURCE = 'an `aws login` session';

/**
 * The AWS SDK's marks for its credential sources, with common names. An identity has several marks when several sources
 * took part (a role assumed with a profile's keys): the first match here is the most specific.
 */
const SOURCES: readonly (readonly [RegExp, string])[] = [
  [/WEB_ID/, 'a web identity token (IRSA)'],
  [/ASSUME_ROLE|SOURCE_PROFILE/, 'a role that a profile assumes'],
  [/PROCESS/, 'credential_process of a profile'],
  [/SSO/, SSO_SOURCE],
  [/LOGIN/, LOGIN_SOURCE],
  [/HTTP/, 'a container endpoint (ECS or EKS Pod Identity)'],
  [/IMDS/, 'EC2 instance metadata'],
  [/^CREDENTIALS_PROFILE$/, FILE_SOURCE],
  [/ENV_VARS/, ENVIRONMENT_SOURCE],
];

export function credentialSource(marks: readonly string[]): string {
  const found = SOURCES.find(([pattern]) => marks.some((mark) => pattern.test(mark)));
  return found?.[1] ?? 'a source that the SDK does not name';
}
