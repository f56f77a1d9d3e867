/** Backups of a server of the audit's table, made by mariadb-backup. */
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { predict } from '../../harness/audit-table/predict.ts';
import type { Site } from '../../harness/audit-table/site.ts';
import type { State } from '../../harness/audit-table/states.ts';
import type { Check } from '../../harness/audit-table/truth.ts';
import { compareVerified } from '../../harness/audit-table/verified.ts';
import { backUp, mariadbBackup, prepare } from './mariadb-backup.ts';

/** Like the data directory that it becomes, it is captured under the state's name. */
export const PREPARED: State = {
  name: 'prepared backup',
  end: 'stopped',
  isAtRest: true,
  reach: async () => undefined,
};

/**
 * Backs the running server up. Tries to prepare the backup without each version of key 1,
 * prepares it with all of them, and restores it in the place of the server's data, which is captured then.
 */
export async function backUpAndRestore(site: Site, directory: string): Promise<readonly Check[]> {
  const backup = join(directory, 'backup');
  await backUp(site.server, backup);
  await site.server.stop();
  const audit = await site.audit(backup);
  const checks: Check[] = [...(await compareVerified(site, audit, [], backup))];
  site.capture('keys of the backup');
  for (const version of site.versions().filter((name) => name.startsWith('1.'))) {
    const copy = join(directory, 'copy');
    cpSync(backup, copy, { recursive: true });
    site.takeAway([version]);
    checks.push(...(await compareVerified(site, audit, [version], backup)));
    const error = await prepare(copy).then(
      () => '',
      (failed: { stderr: string }) =>
        failed.stderr
          .split('\n')
          .filter((line) => line.includes('[ERROR]'))
          .slice(0, 2)
          .join(' / ') || 'failed',
    );
    const { logs, starts, unreadable } = predict(audit, [version]);
    // Pages that the redo log changes are read, unless it makes them anew.
    const isAsPredicted = error === '' ? !logs.has('ib_logfile0') : logs.size > 0 || !starts || unreadable.size > 0;
    checks.push({
      what: 'redo log',
      problem: isAsPredicted ? '' : `prepared without ${version}: ${error || 'completed'}`,
    });
    rmSync(copy, { recursive: true });
    site.restore('keys of the backup');
  }
  await prepare(backup);
  rmSync(site.server.datadir, { recursive: true });
  rmSync(site.elsewhere, { recursive: true });
  for (const path of [site.server.datadir, site.elsewhere]) mkdirSync(path);
  await mariadbBackup(['--no-defaults', '--copy-back', `--target-dir=${backup}`, `--datadir=${site.server.datadir}`]);
  site.capture(PREPARED.name);
  rmSync(backup, { recursive: true });
  return checks;
}
