import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { systemErrorCode } from '../errors.ts';
import { SAFE_PATH } from './server-user.ts';

/** A lock that another process has: `takeLock` waited for it in vain. */
export const TAKEN = 'TAKEN';
const TAKEN_STATUS = 75;

/**
 * Locks a file or a directory among the processes of this machine. `flock` of util-linux holds the lock until this
 * process ends, however it ends. A session of its own keeps Ctrl+C from it: the lock outlasts what this process still
 * does then.
 * @param waitSeconds how long to wait for another process
 * @returns what releases the lock
 * @throws an error with a text for people; its code is `TAKEN` when another process has the lock
 */
export async function takeLock(path: string, waitSeconds: number): Promise<() => Promise<void>> {
  const held = ['sh', '-c', 'echo && exec cat'];
  const options = ['--timeout', String(waitSeconds), '--conflict-exit-code', String(TAKEN_STATUS)];
  const holder = spawn('flock', [...options, path, ...held], {
    detached: true,
    env: { PATH: SAFE_PATH, LC_ALL: 'C' },
  });
  const ended = endOf(holder);
  const said: Buffer[] = [];
  holder.stderr.on('data', (bytes: Buffer) => said.push(bytes));
  const code = await Promise.race([once(holder.stdout, 'data').then(() => undefined), ended]);
  if (code === TAKEN_STATUS) throw Object.assign(new Error('another process has it'), { code: TAKEN });
  if (code !== undefined) throw new Error(describe(code, Buffer.concat(said).toString().trim()));
  return async () => {
    holder.stdin.end();
    await ended;
  };
}

function describe(code: number | string, said: string): string {
  return code === 'ENOENT' ? 'there is no flock, of the package util-linux' : said || String(code);
}

/** Resolves to the exit status, or to the error of a program that could not be started; it never rejects. */
async function endOf(program: ChildProcessWithoutNullStreams): Promise<number | string> {
  const { promise, resolve } = Promise.withResolvers<number | string>();
  program.on('error', (error) => resolve(systemErrorCode(error) ?? error.message));
  program.on('close', (code, signal) => resolve(code ?? signal ?? ''));
  return await promise;
}
