/** Waits until the server's threads have moved the data, and the disk shows it. */
import type { Clock } from '../../clock.ts';
import type { SqlServer } from '../../sql/server.ts';
import { isPending, retiredOf } from './plan.ts';
import { readTablespaces, type ServerState, type Tablespace } from './state.ts';

export interface Waiting {
  readonly sql: SqlServer;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly state: Pick<ServerState, 'rotateKeyAge' | 'encryptTables'>;
  readonly keyIds: ReadonlySet<number>;
  /** Called about once a second with numbers of tablespaces. */
  readonly progress: (done: number, all: number) => void;
}

/** Versions of a key up to which no data may be left. */
export interface Retired {
  readonly keyId: number;
  readonly version: number;
}

const POLL_MS = 1_000;

/**
 * Waits for the tablespaces of these keys. Each look at the view wakes threads that sleep.
 * @returns the versions that no tablespace is under any more
 * @throws KeyError as SqlServer; the signal's reason
 */
export async function waitForServer(waiting: Waiting): Promise<readonly Retired[]> {
  const { sql, clock, signal, state, keyIds, progress } = waiting;
  let all = 0;
  for (;;) {
    const spaces = (await readTablespaces(sql, signal)).filter(({ keyId }) => keyIds.has(keyId));
    const left = spaces.filter((space) => isWaitedFor(state, space)).length;
    all = Math.max(all, left);
    progress(all - left, all);
    if (left === 0) return retiredIn(state, spaces);
    await clock.sleep(POLL_MS, signal);
  }
}

/** The threads never visit encrypted tables while innodb_encrypt_tables is OFF. */
function isWaitedFor(state: Waiting['state'], space: Tablespace): boolean {
  return state.encryptTables === 'OFF' ? space.isEncrypted && space.isMoving : isPending(state, space);
}

/** With innodb_encrypt_tables=OFF only a rebuild moves data, and it moves all to the latest version. */
function retiredIn(state: Waiting['state'], spaces: readonly Tablespace[]): readonly Retired[] {
  const versions = new Map<number, number>();
  for (const { isEncrypted, keyId, latestVersion, minVersion } of spaces) {
    if (!isEncrypted || minVersion === 0) continue;
    const version = state.encryptTables === 'OFF' ? minVersion - 1 : retiredOf(state, latestVersion);
    versions.set(keyId, Math.min(version, versions.get(keyId) ?? version));
  }
  return [...versions].filter(([, version]) => version > 0).map(([keyId, version]) => ({ keyId, version }));
}
