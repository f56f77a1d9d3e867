import { open, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { systemErrorCode } from '../../errors.ts';
import { CredentialFailure } from './failure.ts';

/**
 * The SDK takes a shared file that it cannot read for one that is not there.
 * @param isMeant whether a file in the usual place that cannot be read is one that counts
 */
export async function unreadableSharedFile(
  environment: NodeJS.ProcessEnv,
  isMeant: (path: string) => Promise<boolean> = async () => true,
): Promise<CredentialFailure | undefined> {
  for (const path of sharedFiles(environment)) {
    const code = await readProblem(path);
    // In the usual place there need not be one.
    const isUsual = /\/\.aws\/(?:config|credentials)$/.test(path);
    if (code === undefined || (isUsual && (code === 'ENOENT' || !(await isMeant(path))))) continue;
    return new CredentialFailure('SharedFileUnreadable', `cannot read ${path} (${code})`);
  }
  return undefined;
}

async function readProblem(path: string): Promise<string | undefined> {
  try {
    const file = await open(path);
    await file.read(Buffer.alloc(1)).finally(() => file.close());
    return undefined;
  } catch (error) {
    return systemErrorCode(error) ?? 'unreadable';
  }
}

/** Of every profile. */
export async function secretsOfSharedFiles(environment: NodeJS.ProcessEnv): Promise<readonly string[]> {
  const texts = await Promise.all(sharedFiles(environment).map((path) => readFile(path, 'utf8').catch(() => '')));
  const lines = texts.join('\n').matchAll(/^\s*aws_(?:secret_access_key|session_token)\s*=\s*(\S+)/gim);
  return [...lines].map(([, value = '']) => value);
}

export function sharedFiles(environment: NodeJS.ProcessEnv): readonly [config: string, credentials: string] {
  const home = environment['HOME'] || homedir();
  const [config, credentials] = [environment['AWS_CONFIG_FILE'], environment['AWS_SHARED_CREDENTIALS_FILE']].map(
    (path) =>
      // As the SDK.
      path?.startsWith('~/') ? join(home, path.slice(2)) : path,
  );
  return [config || join(home, '.aws/config'), credentials || join(home, '.aws/credentials')];
}
