import { KeyError, systemErrorCode } from '../errors.ts';
import { refused } from '../setup/refused.ts';
import { TAKEN, takeLock } from './file-lock.ts';

/**
 * Lets one `init` at a time run on a machine.
 * @returns what releases the lock
 * @throws KeyError SETUP_REFUSED when another process has the lock, SETUP_FAILED when the lock cannot be had
 */
export async function lockInit(file: string): Promise<() => Promise<void>> {
  return await takeLock(file, 0).catch((error: Error) => {
    if (systemErrorCode(error) === TAKEN) {
      throw refused('another "mariadb-aws-kms init" is at work', 'wait until it has ended');
    }
    throw new KeyError('SETUP_FAILED', `${file} cannot be locked: ${error.message}`, {
      hint: "init needs flock, of the package util-linux, and root's right to that file",
    });
  });
}
