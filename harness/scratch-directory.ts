import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/**
 * Runs the action with a new directory and removes that afterwards: also when the action throws, and when the script is
 * interrupted.
 */
export async function withScratchDirectory<T>(
  prefix: string,
  action: (directory: string) => Promise<T>,
  parent = tmpdir(),
): Promise<T> {
  const directory = mkdtempSync(join(parent, prefix));
  // Servers on exit are ended by a handler registered earlier; removal is retried because they may still write.
  const remove = (): void => rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  const end = (): void => process.exit(1);
  process.once('exit', remove);
  // Not `once`: a second signal would end the process in the middle of the removal.
  for (const signal of SIGNALS) process.on(signal, end);
  try {
    return await action(directory);
  } finally {
    process.off('exit', remove);
    for (const signal of SIGNALS) process.off(signal, end);
    remove();
  }
}

/**
 * Removes what interrupted runs left in the directory: entries with the id of a process that has ended in the name.
 * @param prefix of the names
 */
export function removeLeftovers(
  parent: string,
  prefix = '',
  remove = (path: string): void => rmSync(path, { recursive: true, force: true, maxRetries: 3 }),
): void {
  for (const name of readdirSync(parent)) {
    const pid = /\.(\d+)(?:\.|$)/.exec(name)?.[1];
    if (pid !== undefined && name.startsWith(prefix) && !existsSync(`/proc/${pid}`)) remove(join(parent, name));
  }
}
