/** Moves tables that the server's threads do not visit. */
import type { Clock } from '../../clock.ts';
import { KeyError } from '../../errors.ts';
import { identifier, type SqlServer } from '../../sql/server.ts';
import { nameOfTable, type Stuck } from './plan.ts';
import type { TableName } from './table-name.ts';

export interface Rebuilding {
  /** Runs the statements. */
  readonly sql: SqlServer;
  /** Looks at their progress. */
  readonly onlooker: SqlServer;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** @param percent of the table's current stage */
  readonly progress: (done: number, table: string, percent: number) => void;
}

export interface Rebuilt {
  readonly done: readonly string[];
  /** Tables that are as they were. */
  readonly left: readonly string[];
  readonly problems: readonly KeyError[];
}

const LOOK_MS = 1_000;

export function tablesOf(stuck: readonly Stuck[]): readonly TableName[] {
  const tables = new Map(stuck.flatMap(({ table }) => (table === undefined ? [] : [[nameOfTable(table), table]])));
  return [...tables.values()];
}

/** Rebuilds one after the other. An interrupted statement leaves its table as it was. */
export async function rebuildTables(tables: readonly TableName[], rebuilding: Rebuilding): Promise<Rebuilt> {
  const { sql, signal } = rebuilding;
  const done: string[] = [];
  const problems: KeyError[] = [];
  const [row] = await sql.query('SELECT CONNECTION_ID() AS id', [], signal);
  const connection = Number(row?.['id']);
  for (const table of tables) {
    if (signal.aborted) break;
    const name = nameOfTable(table);
    const watch = watchProgress(connection, rebuilding, (percent) => rebuilding.progress(done.length, name, percent));
    try {
      await sql.query(`ALTER TABLE ${identifier(table.schema)}.${identifier(table.table)} FORCE`, [], signal);
      done.push(name);
    } catch (thrown) {
      if (signal.aborted) break;
      if (!(thrown instanceof KeyError)) throw thrown;
      problems.push(
        new KeyError(thrown.code, `${name} is as it was: ${thrown.message}`, { hint: thrown.hint, cause: thrown }),
      );
      // Without a connection each further table would fail in the same way.
      if (thrown.code === 'SERVER_UNREACHABLE') break;
    } finally {
      await watch.end();
    }
  }
  const left = tables.map(nameOfTable).filter((name) => !done.includes(name));
  return { done, left, problems };
}

function watchProgress(
  connection: number,
  { onlooker, clock, signal }: Rebuilding,
  tell: (percent: number) => void,
): { readonly end: () => Promise<void> } {
  const over = new AbortController();
  const look = async (): Promise<void> => {
    while (!over.signal.aborted && !signal.aborted) {
      tell(await percentOf(connection, onlooker, signal));
      await clock.sleep(LOOK_MS, over.signal);
    }
  };
  // The statement counts, and not whether one could look at it.
  const looking = look().catch(() => undefined);
  return {
    end: async () => {
      over.abort(new Error('the statement has ended'));
      await looking;
    },
  };
}

async function percentOf(connection: number, onlooker: SqlServer, signal: AbortSignal): Promise<number> {
  const statement = 'SELECT PROGRESS FROM information_schema.PROCESSLIST WHERE ID = ?';
  const [row] = await onlooker.query(statement, [connection], signal);
  return Number(row?.['PROGRESS'] ?? 0);
}
