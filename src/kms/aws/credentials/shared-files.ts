import { homedir } from 'node:os';
import { join } from 'node:path';
import { readSmallFile } from '../../../disk/small-file.ts';
import { KeyError, systemErrorCode } from '../../../errors.ts';
import { CredentialFailure } from './failure.ts';

/**
 * Reports a shared file that cannot be read, which the SDK treats as missing.
 * @param isMeant true: an unreadable file in the usual place counts
 */
export async function unreadableSharedFile(
  environment: NodeJS.ProcessEnv,
  isMeant: (path: string) => Promise<boolean> = async () => true,
): Promise<CredentialFailure | undefined> {
  for (const path of sharedFiles(environment)) {
    const code = await readProblem(path);
    // A file in the usual place is optional.
    const isUsual = /\/\.aws\/(?:config|credentials)$/.test(path);
    if (code === undefined || (isUsual && (code === 'ENOENT' || !(await isMeant(path))))) continue;
    return new CredentialFailure('SharedFileUnreadable', `cannot read ${path} (${code})`);
  }
  return undefined;
}

async function readProblem(path: string): Promise<string | undefined> {
  try {
    await readSmallFile(path);
    return undefined;
  } catch (error) {
    return systemErrorCode(error) ?? 'unreadable';
  }
}

/** The secrets of every profile. */
export async function secretsOfSharedFiles(environment: NodeJS.ProcessEnv): Promise<readonly string[]> {
  const texts = await Promise.all(sharedFiles(environment).map((path) => textOf(path)));
  const lines = texts.join('\n').matchAll(/^\s*aws_(?:secret_access_key|session_token)\s*=\s*(\S+)/gim);
  return [...lines].map(([, value = '']) => value);
}

async function textOf(path: string): Promise<string> {
  return await readSmallFile(path).then(
    (bytes) => bytes.toString('utf8'),
    () => '',
  );
}

/**
 * Tells whether the SDK would find anything in the shared files. The SDK itself would wait for ever for a pipe, and
 * read a device without end.
 * @throws KeyError BAD_OPTION for a path that is no file, or one that is too large
 */
export async function areSharedFilesThere(environment: NodeJS.ProcessEnv): Promise<boolean> {
  const found = await Promise.all(
    sharedFiles(environment).map(async (path) => {
      const problem = await readProblem(path);
      if (problem === 'NOT_A_FILE' || problem === 'EFBIG') {
        throw new KeyError('BAD_OPTION', `cannot read ${path} (${problem})`, {
          hint: 'AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE must name regular files of at most 1 MiB',
        });
      }
      return problem === undefined;
    }),
  );
  return found.includes(true);
}

/** Accepts the C++ SDK's variable for the shared credentials file, which MariaDB's documentation tells users to set. */
export function adoptLegacyVariables(environment: NodeJS.ProcessEnv): void {
  const legacy = environment['AWS_CREDENTIAL_PROFILES_FILE'];
  if (legacy !== undefined) environment['AWS_SHARED_CREDENTIALS_FILE'] ??= legacy;
}

export function sharedFiles(environment: NodeJS.ProcessEnv): readonly [config: string, credentials: string] {
  const home = environment['HOME'] || homedir();
  const [config, credentials] = [environment['AWS_CONFIG_FILE'], environment['AWS_SHARED_CREDENTIALS_FILE']].map(
    (path) =>
      // The SDK expands the tilde, too.
      path?.startsWith('~/') ? join(home, path.slice(2)) : path,
  );
  return [config || join(home, '.aws/config'), credentials || join(home, '.aws/credentials')];
}
