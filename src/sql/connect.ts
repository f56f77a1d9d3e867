import { type Connection, createConnection } from 'mariadb';
import { KeyError } from '../errors.ts';
import { onAbort } from '../on-abort.ts';
import { connectFailure, isPrivilegeDenied, statementFailure } from './failures.ts';
import { nameOfTarget, type Row, type SqlServer, type SqlTarget } from './server.ts';

const CONNECT_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;

/** Connects with MariaDB's connector. @throws KeyError SERVER_UNREACHABLE, SERVER_REFUSED, SQL_FAILED */
export async function connectServer(target: SqlTarget, signal: AbortSignal): Promise<SqlServer> {
  signal.throwIfAborted();
  const { place, user, password, certificates } = target;
  const connection = await createConnection({
    ...('socket' in place ? { socketPath: place.socket } : place),
    user,
    ...(password === '' ? {} : { password }),
    ...(certificates === undefined ? {} : { ssl: { ca: certificates } }),
    connectTimeout: CONNECT_MS,
    keepAliveDelay: KEEP_ALIVE_MS,
    // Errors must not repeat values, nor rows depend on what a column is said to hold.
    logParam: false,
    dateStrings: true,
    autoJsonMap: false,
  }).catch((thrown: unknown) => {
    throw connectFailure(target, thrown);
  });
  // A lost connection is reported by the query that meets it.
  connection.on('error', () => undefined);
  return new ConnectedServer(connection, target);
}

class ConnectedServer implements SqlServer {
  readonly name: string;
  readonly #connection: Connection;
  readonly #target: SqlTarget;

  constructor(connection: Connection, target: SqlTarget) {
    this.name = nameOfTarget(target);
    this.#connection = connection;
    this.#target = target;
  }

  async query(statement: string, values: readonly (string | number)[], signal: AbortSignal): Promise<readonly Row[]> {
    try {
      return rowsOf(await this.#run(statement, values, signal));
    } catch (thrown) {
      if (signal.aborted) throw signal.reason;
      if (thrown instanceof KeyError) throw thrown;
      const account = isPrivilegeDenied(thrown) ? await this.#account(signal) : this.#target.user;
      throw statementFailure(this.#target, thrown, account);
    }
  }

  async close(): Promise<void> {
    await this.#connection.end().catch(() => this.#connection.destroy());
  }

  async #run(statement: string, values: readonly (string | number)[], signal: AbortSignal): Promise<unknown> {
    signal.throwIfAborted();
    const { promise, reject } = Promise.withResolvers<never>();
    const release = onAbort(signal, () => {
      // Kills the statement on the server, too.
      this.#connection.destroy();
      reject(signal.reason);
    });
    try {
      const running: Promise<unknown> = this.#connection.query(statement, values);
      return await Promise.race([running, promise]);
    } finally {
      release();
    }
  }

  /** The account that the server took for this user: `'u'@'host'`. */
  async #account(signal: AbortSignal): Promise<string> {
    const rows = await this.#run('SELECT CURRENT_USER() AS account', [], signal).then(rowsOf, () => []);
    const account = rows[0]?.['account'];
    if (typeof account !== 'string') return this.#target.user;
    const at = account.lastIndexOf('@');
    return `'${account.slice(0, at)}'@'${account.slice(at + 1)}'`;
  }
}

/** Rows of a result; none for a statement without a result. */
function rowsOf(result: unknown): readonly Row[] {
  if (!Array.isArray(result)) return [];
  return result.map((row: object) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, plainValue(name, value)])),
  );
}

function plainValue(name: string, value: unknown): Row[string] {
  if (value === null || typeof value === 'string' || typeof value === 'number') return value;
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  // The connector takes BIT(1) for a boolean.
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (Buffer.isBuffer(value)) return value.toString('utf8');
  throw new KeyError('INTERNAL', `"${name}" expected text, a number or NULL, got ${typeof value}`);
}
