import { KeyError } from '../errors.ts';

/** Temporary credentials from STS. */
export interface SessionCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly expiresMs: number;
}

const BEGIN = '# mariadb-aws-kms login wrote this and replaces or removes it';
/** Records that login added the missing line end of the last line, so that logout can remove it. */
const ADDED_LINE_END = ' (and the line end before)';
const END = '# end of what mariadb-aws-kms login wrote';

/**
 * Returns the text of a shared credentials file with the session credentials in the section of `profile`. Text that
 * login did not write stays the same, byte for byte.
 * @throws KeyError BAD_OPTION when a section of that name was not written by login
 */
export function withSession(text: string, profile: string, session: SessionCredentials): string {
  const rest = withoutSession(text, profile);
  if (sectionNames(rest).includes(profile)) {
    throw new KeyError('BAD_OPTION', `the section [${profile}] is there already, and login did not write it`, {
      hint: 'long-term keys are not replaced: write another section with --profile, or another file with --output',
    });
  }
  const isEnded = rest === '' || rest.endsWith('\n');
  return `${rest}${isEnded ? '' : '\n'}${[
    `${BEGIN}${isEnded ? '' : ADDED_LINE_END}; until ${new Date(session.expiresMs).toISOString()}`,
    `[${profile}]`,
    `aws_access_key_id = ${session.accessKeyId}`,
    `aws_secret_access_key = ${session.secretAccessKey}`,
    `aws_session_token = ${session.sessionToken}`,
    END,
    '',
  ].join('\n')}`;
}

/** Returns the text without the section that `withSession` added for that profile; unchanged if it added none. */
export function withoutSession(text: string, profile: string): string {
  const lines = text.split('\n');
  const first = lines.findIndex((line, index) => line.startsWith(BEGIN) && lines[index + 1] === `[${profile}]`);
  if (first < 0) return text;
  const last = lines.indexOf(END, first);
  const isWhole = last === first + 5;
  if (!isWhole) {
    throw new KeyError('BAD_OPTION', `the section [${profile}] was changed after login wrote it`, {
      hint: 'remove it by hand, from the comment before it to the one behind it',
    });
  }
  const after = lines.slice(last + 1);
  const before = lines.slice(0, first);
  const wasUnended = lines[first]?.includes(ADDED_LINE_END) === true && after.every((line) => line === '');
  return (wasUnended ? before : [...before, ...after]).join('\n');
}

function sectionNames(text: string): readonly string[] {
  return [...text.matchAll(/^\s*\[\s*([^\]]*?)\s*\]/gm)].map(([, name]) => name ?? '');
}
