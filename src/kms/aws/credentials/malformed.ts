import type { AccessKey } from '../sigv4.ts';
import { CredentialFailure } from './failure.ts';

interface Given extends AccessKey {
  readonly expiration?: Date | undefined;
}

/** Describes the problem without the value, which is often secret. */
export function problemOfText(value: string): string | undefined {
  const end = /[\r\n]$/.test(value) ? 'a line feed' : /\s$/.test(value) ? 'a blank' : undefined;
  if (end !== undefined) return `ends with ${end}`;
  if (/^\s/.test(value)) return 'begins with a blank';
  const at = [...value].findIndex((character) => !/^[!-~]$/.test(character));
  return at < 0 ? undefined : `has a character that it cannot have, at position ${at + 1}`;
}

/**
 * Finds values that no signature can be made with: AWS would blame the secret key, and a header with a line feed is
 * never sent.
 * @param source its name in messages; undefined: variables of the environment
 */
export function malformed(given: Given, source?: string): CredentialFailure | undefined {
  const named = (variable: string, part: string): string => (source === undefined ? variable : `${source}: ${part}`);
  const parts: readonly (readonly [string, string | undefined])[] = [
    [named('AWS_ACCESS_KEY_ID', 'the access key id'), given.accessKeyId],
    [named('AWS_SECRET_ACCESS_KEY', 'the secret access key'), given.secretAccessKey],
    [named('AWS_SESSION_TOKEN', 'the session token'), given.sessionToken],
  ];
  for (const [name, value] of parts) {
    const problem = value === undefined ? undefined : problemOfText(value);
    if (problem !== undefined) return new CredentialFailure('CredentialsMalformed', `${name} ${problem}`);
  }
  if (given.expiration === undefined || !Number.isNaN(given.expiration.getTime())) return undefined;
  const expiry = named('AWS_CREDENTIAL_EXPIRATION', 'the expiration');
  return new CredentialFailure('CredentialsMalformed', `${expiry} is no date`);
}
