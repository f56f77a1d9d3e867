/** Errors of the server and of the connector as errors of this program. */
import { KeyError } from '../errors.ts';
import { nameOfTarget, type SqlTarget } from './server.ts';

/** The members of the connector's error that matter. */
export interface SqlFailure {
  readonly code: string;
  readonly number: number;
  /** SQLSTATE: five characters. */
  readonly state: string;
  readonly text: string;
}

/** System errors of sockets, as the connector passes them on, and its own of a connection that was lost. */
const UNREACHABLE =
  /^(?:ENOENT|ENOTSOCK|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ER_SOCKET_\w+|ER_CONNECTION_(?:ALREADY_CLOSED|TIMEOUT)|ER_CMD_CONNECTION_CLOSED|ER_CMD_NOT_EXECUTED_DESTROYED|ER_SERVER_SHUTDOWN|ER_CONNECTION_KILLED)$/;
const [DATABASE_DENIED, LOGIN_DENIED, TABLE_DENIED, COLUMN_DENIED, PRIVILEGE_DENIED, LOGIN_DENIED_NO_PASSWORD] = [
  1044, 1045, 1142, 1143, 1227, 1698,
];
const HOST_DENIED = 1130;

export function failureOf(thrown: unknown): SqlFailure {
  const member = (name: string): unknown =>
    thrown !== null && typeof thrown === 'object' ? Reflect.get(thrown, name) : undefined;
  const [code, number, state, text] = ['code', 'errno', 'sqlState', 'sqlMessage'].map(member);
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return {
    code: typeof code === 'string' ? code : '',
    number: typeof number === 'number' ? number : 0,
    state: typeof state === 'string' ? state : '',
    text: typeof text === 'string' && text !== '' ? text : message,
  };
}

/** An error of connecting. */
export function connectFailure(target: SqlTarget, thrown: unknown): KeyError {
  const failure = failureOf(thrown);
  const { code, number, text } = failure;
  const name = nameOfTarget(target);
  if ('socket' in target.place && /^(?:EACCES|EPERM)$/.test(code)) {
    return new KeyError('SERVER_REFUSED', `${name}: the socket may not be opened (${code})`, {
      hint: 'run this as root or as the user of the server',
      cause: thrown,
    });
  }
  if (UNREACHABLE.test(code)) {
    const hint =
      'socket' in target.place
        ? 'start the server, or name the socket that it listens on: --socket FILE'
        : 'start the server, or name it with --host and --port, or by its socket with --socket FILE';
    return new KeyError('SERVER_UNREACHABLE', `the server does not answer: ${name} (${code})`, { hint, cause: thrown });
  }
  if ([DATABASE_DENIED, LOGIN_DENIED, LOGIN_DENIED_NO_PASSWORD, HOST_DENIED].includes(number)) {
    return new KeyError('SERVER_REFUSED', `the server refused the login: ${text} (${number})`, {
      hint: 'log in as a user that the server knows: --user NAME --password-file FILE, or run this as root, whom MariaDB knows by its socket',
      cause: thrown,
    });
  }
  return new KeyError('SQL_FAILED', `${name}: ${describe(failure)}`, { cause: thrown });
}

/**
 * An error of a statement.
 * @param account the user as the server knows it, `'u'@'host'`, for the GRANT that the hint names
 */
export function statementFailure(target: SqlTarget, thrown: unknown, account: string): KeyError {
  const failure = failureOf(thrown);
  const { code, number, text } = failure;
  if (UNREACHABLE.test(code)) {
    const message = `the server ended the connection: ${nameOfTarget(target)} (${code})`;
    const hint = 'look whether it runs, and at the end of its error log';
    return new KeyError('SERVER_UNREACHABLE', message, { hint, cause: thrown });
  }
  const grant = grantFor(failure, account);
  if (grant !== undefined) {
    const hint = grant === '' ? 'use a user with more privileges' : `as an administrator of the server: ${grant}`;
    return new KeyError('SERVER_REFUSED', `the server refused ${account}: ${text} (${number})`, {
      hint,
      cause: thrown,
    });
  }
  return new KeyError('SQL_FAILED', `the server: ${describe(failure)}`, { cause: thrown });
}

/** True if the statement needs a privilege that the user lacks, for all databases. */
export function isPrivilegeDenied(thrown: unknown): boolean {
  return failureOf(thrown).number === PRIVILEGE_DENIED;
}

/** The statement that gives the privilege; empty: it is unknown; undefined: nothing was refused. */
function grantFor({ number, text }: SqlFailure, account: string): string | undefined {
  if (number === PRIVILEGE_DENIED) {
    // "you need (at least one of) the SUPER, CONNECTION ADMIN privilege(s)": the least one comes last.
    const [, list = ''] = /\(at least one of\) the (.+) privilege/.exec(text) ?? [];
    const last = list.split(', ').at(-1) ?? '';
    return last === '' ? '' : `GRANT ${last} ON *.* TO ${account}`;
  }
  if (number === TABLE_DENIED || number === COLUMN_DENIED) {
    const [, privileges, table] =
      /^(.+) command denied to user .+ for (?:table|column .+ in table) (.+)$/.exec(text) ?? [];
    return privileges === undefined || table === undefined ? '' : `GRANT ${privileges} ON ${table} TO ${account}`;
  }
  return number === DATABASE_DENIED ? '' : undefined;
}

function describe({ number, state, text, code }: SqlFailure): string {
  return number === 0 ? `${text}${code === '' ? '' : ` (${code})`}` : `${text} (${number}, ${state})`;
}
