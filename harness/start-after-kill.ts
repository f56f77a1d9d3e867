/** The start of a server that was killed while it wrote. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { endRedoLog, readRedoLog } from './redo-log.ts';
import type { ScratchServer } from './scratch-server.ts';

/**
 * Starts a killed server. A killed InnoDB can leave a redo log without an end, with any key plugin and without one; its
 * next start then fails, or damages tables: docs/reliability.md, "When processes are killed". Such a log is ended first where it was last
 * written to, so that whatever else fails is news.
 * @param withoutEnd called before that, with the data directory as the kill left it; has to leave it so
 */
export async function startAfterKill(
  server: Pick<ScratchServer, 'datadir' | 'start'>,
  withoutEnd?: () => Promise<void>,
): Promise<void> {
  const log = join(server.datadir, 'ib_logfile0');
  const { stale } = readRedoLog(readFileSync(log));
  if (stale !== undefined) {
    await withoutEnd?.();
    endRedoLog(log, stale);
  }
  await server.start();
}
