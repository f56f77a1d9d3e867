/** A row by column name; numbers up to 2^53 as number, larger as bigint, NULL as null. Text and binary are strings. */
export type Row = Readonly<Record<string, string | number | bigint | null>>;

/** A connection to a running server. Its queries run one after the other. */
export interface SqlServer {
  /** The way to it and the user, for messages: `root@localhost via /run/mysqld/mysqld.sock`. */
  readonly name: string;
  /**
   * Runs one statement, with `?` for each value. When the signal is aborted, the server ends the statement, the
   * connection is lost, and the promise rejects with the signal's reason.
   * @throws KeyError SERVER_UNREACHABLE, SERVER_REFUSED (names the missing privilege), SQL_FAILED (number, state, text)
   */
  query(statement: string, values: readonly (string | number)[], signal: AbortSignal): Promise<readonly Row[]>;
  close(): Promise<void>;
}

/** A way to a server. */
export interface SqlTarget {
  readonly place: { readonly socket: string } | { readonly host: string; readonly port: number };
  readonly user: string;
  /** Empty: none. */
  readonly password: string;
  /** Certificate authorities in PEM, one of which the server's certificate is from; undefined: no TLS. */
  readonly certificates: string | undefined;
}

/** Connects to a server. @throws KeyError SERVER_UNREACHABLE, SERVER_REFUSED, SQL_FAILED; the signal's reason */
export type ConnectServer = (target: SqlTarget, signal: AbortSignal) => Promise<SqlServer>;

/** Returns a name as SQL writes identifiers. */
export function identifier(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/** `root@localhost via /run/mysqld/mysqld.sock`, `admin@db.example:3306` */
export function nameOfTarget({ place, user }: SqlTarget): string {
  return 'socket' in place ? `${user}@localhost via ${place.socket}` : `${user}@${place.host}:${place.port}`;
}
