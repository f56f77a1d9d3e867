import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { BUILD, installDatabase, installedServer } from '../../harness/scratch-server.ts';

/** A data directory belongs to the version that made it. */
export const TEMPLATE = join(BUILD, `test-datadir-${/Ver ([\d.]+)/.exec(installedServer())?.[1] ?? 'unknown'}`);

/** One initialised, unencrypted data directory for the whole run; each test copies it. */
export async function setup(): Promise<void> {
  if (existsSync(TEMPLATE)) return;
  const fresh = `${TEMPLATE}.${process.pid}`;
  await installDatabase(fresh);
  try {
    renameSync(fresh, TEMPLATE);
  } catch {
    // Another run was faster; its directory is as good.
    rmSync(fresh, { recursive: true, force: true });
  }
}
