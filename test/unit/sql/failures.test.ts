import { expect, it } from 'vitest';
import { connectFailure, statementFailure } from '../../../src/sql/failures.ts';
import type { SqlTarget } from '../../../src/sql/server.ts';

const SOCKET: SqlTarget = { place: { socket: '/run/s' }, user: 'u', password: '', certificates: undefined };
const TCP: SqlTarget = { ...SOCKET, place: { host: 'db.example', port: 3307 } };

function thrown(code: string, errno: number, sqlMessage: string | null = null, sqlState = 'HY000'): unknown {
  return Object.assign(new Error(`(conn:1) ${sqlMessage ?? code}\nsql: SELECT 'secret'`), {
    code,
    errno,
    sqlMessage,
    sqlState,
  });
}

it.each([
  [SOCKET, thrown('ENOENT', -2), 'SERVER_UNREACHABLE', 'the server does not answer: u@localhost via /run/s (ENOENT)'],
  [
    TCP,
    thrown('ECONNREFUSED', -111),
    'SERVER_UNREACHABLE',
    'the server does not answer: u@db.example:3307 (ECONNREFUSED)',
  ],
  [SOCKET, thrown('EACCES', -13), 'SERVER_REFUSED', 'u@localhost via /run/s: the socket may not be opened (EACCES)'],
  [
    SOCKET,
    thrown('ER_ACCESS_DENIED_ERROR', 1045, "Access denied for user 'u'@'localhost' (using password: NO)", '28000'),
    'SERVER_REFUSED',
    "the server refused the login: Access denied for user 'u'@'localhost' (using password: NO) (1045)",
  ],
  [
    SOCKET,
    thrown('ER_CON_COUNT_ERROR', 1040, 'Too many connections', '08004'),
    'SQL_FAILED',
    'u@localhost via /run/s: Too many connections (1040, 08004)',
  ],
])('a connection to %j that fails with %s is %s', (target, error, code, message) => {
  expect(connectFailure(target, error)).toMatchObject({ code, message });
});

it.each([
  [
    thrown(
      'ER_SPECIFIC_ACCESS_DENIED_ERROR',
      1227,
      'Access denied; you need (at least one of) the PROCESS privilege(s) for this operation',
    ),
    'SERVER_REFUSED',
    "as an administrator of the server: GRANT PROCESS ON *.* TO 'u'@'%'",
  ],
  [
    thrown(
      'ER_SPECIFIC_ACCESS_DENIED_ERROR',
      1227,
      'Access denied; you need (at least one of) the SUPER, CONNECTION ADMIN privilege(s) for this operation',
    ),
    'SERVER_REFUSED',
    "as an administrator of the server: GRANT CONNECTION ADMIN ON *.* TO 'u'@'%'",
  ],
  [
    thrown(
      'ER_TABLEACCESS_DENIED_ERROR',
      1142,
      "INSERT, CREATE command denied to user 'u'@'localhost' for table `d`.`t`",
    ),
    'SERVER_REFUSED',
    "as an administrator of the server: GRANT INSERT, CREATE ON `d`.`t` TO 'u'@'%'",
  ],
  [
    thrown('ER_DBACCESS_DENIED_ERROR', 1044, "Access denied for user 'u'@'%' to database 'd'"),
    'SERVER_REFUSED',
    'use a user with more privileges',
  ],
  [
    thrown('ER_SOCKET_UNEXPECTED_CLOSE', 45009),
    'SERVER_UNREACHABLE',
    'look whether it runs, and at the end of its error log',
  ],
  [thrown('ER_PARSE_ERROR', 1064, 'You have an error', '42000'), 'SQL_FAILED', ''],
])('a statement that fails with %s is %s', (error, code, hint) => {
  expect(statementFailure(SOCKET, error, "'u'@'%'")).toMatchObject({ code, hint });
});

it('the text of a failed statement is the one of the server, without the statement', () => {
  const { message } = statementFailure(SOCKET, thrown('ER_PARSE_ERROR', 1064, 'You have an error', '42000'), '');
  expect(message).toBe('the server: You have an error (1064, 42000)');
});
