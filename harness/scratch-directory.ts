import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Has the action use a new directory, which is gone afterwards: also when it throws, and when the script is interrupted. */
export async function withScratchDirectory<T>(
  prefix: string,
  action: (directory: string) => Promise<T>,
  parent = tmpdir(),
): Promise<T> {
  const directory = mkdtempSync(join(parent, prefix));
  // What ends servers on exit was told first; what they leave behind as they end is tried again.
  const remove = (): void => rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  const end = (): void => process.exit(1);
  process.once('exit', remove);
  // Not once: a second one would end the process in the middle of the removal.
  for (const signal of SIGNALS) process.on(signal, end);
  try {
    return await action(directory);
  } finally {
    process.off('exit', remove);
    for (const signal of SIGNALS) process.off(signal, end);
    remove();
  }
}
