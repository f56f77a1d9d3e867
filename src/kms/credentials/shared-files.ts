import { open, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { systemErrorCode } from '../../errors.ts';
import { CredentialFailure } from './failure.ts';

/** The SDK takes a shared file that it cannot read for one that is not there. */
export async function unreadableSharedFile(environment: NodeJS.ProcessEnv): Promise<CredentialFailure | undefined> {
  for (const path of sharedFiles(environment)) {
    const code = await readProblem(path);
    // In the usual place there need not be one.
    if (code === undefined || (code === 'ENOENT' && /\/\.aws\/(?:config|credentials)$/.test(path))) continue;
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
  const folder = join(environment['HOME'] || homedir(), '.aws');
  return [
    environment['AWS_CONFIG_FILE'] || join(folder, 'config'),
    environment['AWS_SHARED_CREDENTIALS_FILE'] || join(folder, 'credentials'),
  ];
}
