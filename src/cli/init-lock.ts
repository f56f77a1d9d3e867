import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { KeyError, systemErrorCode } from '../errors.ts';
import { refused } from '../setup/refused.ts';
import { SAFE_PATH } from './server-user.ts';

const TAKEN = 75;

/**
 * Lets one `init` at a time run on a machine. `flock` of util-linux holds the lock until this process ends, however it
 * ends. A session of its own keeps Ctrl+C from it: the lock outlasts what `init` still does then.
 * @returns what releases the lock
 * @throws KeyError SETUP_REFUSED when another process has the lock, SETUP_FAILED when the lock cannot be had
 */
export async function lockInit(file: string): Promise<() => Promise<void>> {
  const held = ['sh', '-c', 'echo && exec cat'];
  const holder = spawn('flock', ['--nonblock', '--conflict-exit-code', String(TAKEN), file, ...held], {
    detached: true,
    env: { PATH: SAFE_PATH, LC_ALL: 'C' },
  });
  const ended = endOf(holder);
  const said: Buffer[] = [];
  holder.stderr.on('data', (bytes: Buffer) => said.push(bytes));
  const code = await Promise.race([once(holder.stdout, 'data').then(() => undefined), ended]);
  if (code === TAKEN) throw refused('another "mariadb-aws-kms init" is at work', 'wait until it has ended');
  if (code !== undefined) {
    throw new KeyError('SETUP_FAILED', `${file} cannot be locked: ${Buffer.concat(said).toString().trim() || code}`, {
      hint: "init needs flock, of the package util-linux, and root's right to that file",
    });
  }
  return async () => {
    holder.stdin.end();
    await ended;
  };
}

/** Resolves to the exit status, or to the error of a program that could not be started; it never rejects. */
async function endOf(program: ChildProcessWithoutNullStreams): Promise<number | string> {
  const { promise, resolve } = Promise.withResolvers<number | string>();
  program.on('error', (error) => resolve(systemErrorCode(error) ?? error.message));
  program.on('close', (code, signal) => resolve(code ?? signal ?? ''));
  return await promise;
}
