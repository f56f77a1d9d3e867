/** The states of a data directory, in the order in which one server goes through them. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Row, ServerOptions } from '../scratch-server.ts';
import { startAfterKill } from '../start-after-kill.ts';
import { insertRows, type Table, tablesOf } from './formats.ts';
import type { Site } from './site.ts';
import type { Check } from './truth.ts';
import { compareWithView } from './view.ts';

export interface State {
  readonly name: string;
  /** Finds a running server, and leaves one that `end` ends. */
  readonly reach: (site: Site) => Promise<void>;
  readonly end: 'stopped' | 'killed';
  /** False: the view may say less than the disk, because pages are still rewritten. */
  readonly isAtRest: boolean;
}

export interface Captured {
  readonly state: State;
  /** The server's own view, at the end. */
  readonly view: readonly Row[];
  readonly options: ServerOptions;
}

export const STATES: readonly State[] = [
  { name: 'never rotated', end: 'stopped', isAtRest: true, reach: async () => undefined },
  {
    name: 'rotated once',
    end: 'stopped',
    isAtRest: true,
    // innodb_encryption_rotate_key_age=1, the default: pages of the version before stay as they are.
    reach: async (site) => {
      await site.rotate();
      await insertRows(site.server, tablesOf(site.build), 1000);
      await site.server.sql('FLUSH BINARY LOGS');
      await site.settle(1);
    },
  },
  {
    name: 'rotated often, free pages',
    end: 'stopped',
    isAtRest: true,
    reach: async (site) => {
      for (const { name } of tablesOf(site.build)) await site.server.sql(`DELETE FROM d.${name} WHERE i > 60`);
      await purged(site);
      for (let times = 0; times < 3; times += 1) await site.rotate();
      await site.server.sql('FLUSH BINARY LOGS');
      await site.settle(site.latest() - 1);
    },
  },
  {
    name: 'rotation half-way',
    end: 'stopped',
    isAtRest: false,
    reach: async (site) => {
      // Only pages that are not in the buffer pool are throttled.
      await site.server.stop();
      site.set({ innodb_encryption_rotation_iops: 10, innodb_buffer_pool_load_at_startup: 'OFF' });
      await site.server.start();
      const before = site.latest();
      for (let times = 0; times < 2; times += 1) await site.rotate();
      await site.until('some tablespaces are rotated and some are not', async () => {
        const oldest = (await site.view())
          .map((row) => Number(row['MIN_KEY_VERSION']))
          .filter((version) => version > 0);
        return oldest.filter((version) => version > before).length >= 4;
      });
      site.set({ innodb_encryption_rotation_iops: undefined, innodb_buffer_pool_load_at_startup: undefined });
      await site.server.sql('SET GLOBAL innodb_encryption_threads=0');
    },
  },
  {
    name: 'killed',
    end: 'killed',
    isAtRest: false,
    reach: async (site) => {
      await insertRows(site.server, recovered(site), 2000);
      await site.server.sql('SET GLOBAL innodb_encryption_threads=2');
      // It ends with the server.
      writeForEver(site).catch(() => undefined);
      await pause(500);
    },
  },
  {
    name: 'new redo log and Aria',
    end: 'stopped',
    isAtRest: true,
    reach: async (site) => {
      for (let times = 0; times < 2; times += 1) await site.rotate();
      for (const { name } of tablesOf(site.build).filter((table) => table.format.startsWith('Aria')))
        await site.server.sql(`ALTER TABLE d.${name} FORCE`);
      await site.settle(site.latest() - 1);
      await site.server.stop();
      site.set({ innodb_log_file_size: '6M' });
      await site.server.start();
    },
  },
  {
    name: 'decrypted',
    end: 'stopped',
    isAtRest: false,
    reach: async (site) => {
      site.set({ innodb_encrypt_tables: 'OFF' });
      await site.server.sql('SET GLOBAL innodb_encrypt_tables=OFF');
      await site.until('everything is decrypted that has no option of its own', async () =>
        (await site.view()).every((row) => row['CURRENT_KEY_ID'] !== 1 || row['MIN_KEY_VERSION'] === 0),
      );
    },
  },
];

/** Audits a server that writes to all its tables and rotates their keys. */
export async function auditWhileWriting(site: Site): Promise<readonly Check[]> {
  let isOver = false;
  const writing = (async () => {
    for (let from = 10_000; !isOver; from += 100) await insertRows(site.server, recovered(site), from);
  })();
  writing.catch(() => undefined);
  await site.rotate();
  await site.rotate();
  const checks: Check[] = [];
  try {
    for (let times = 0; times < 3; times += 1)
      checks.push(...compareWithView(site.build, await site.audit(), await site.view(), false));
  } finally {
    isOver = true;
  }
  await writing;
  return checks;
}

/** Reaches the state and captures it. The server runs before and is down afterwards. */
export async function reach(site: Site, state: State): Promise<Captured> {
  if (!site.server.isRunning) await startAfterKill(site.server);
  await state.reach(site);
  await site.replicate();
  const view = await site.view();
  if (state.end === 'stopped') await site.server.stop();
  else await site.server.kill();
  site.capture(state.name);
  return { state, view, options: site.server.options };
}

async function writeForEver(site: Site): Promise<never> {
  for (let from = 3000; ; from += 100) await insertRows(site.server, recovered(site), from);
}

function recovered({ build }: Site): readonly Table[] {
  return tablesOf(build).filter(({ isRecovered }) => isRecovered);
}

/** Waits until InnoDB has removed deleted rows, which frees their pages. */
async function purged(site: Site): Promise<void> {
  await site.until(
    'deleted rows are purged',
    async () => (await site.server.variable('STATUS', 'Innodb_history_list_length')) === '0',
  );
}
