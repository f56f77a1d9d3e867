import { resolve } from 'node:path';
import { KeyError, systemErrorCode } from '../errors.ts';
import type { SqlTarget } from '../sql/server.ts';
import { findAccount } from './account.ts';
import type { Configuration } from './configuration.ts';
import { parseOptionLines, ServerOptions } from './server-options.ts';
import type { Surroundings } from './surroundings.ts';

/** The options of the command line that say how to reach the running server. */
export interface SqlFlags {
  readonly socket?: string;
  readonly host?: string;
  readonly port?: number;
  readonly user?: string;
  readonly passwordFile?: string;
  readonly sslCa?: string;
}

type Server = Pick<Configuration, 'request' | 'unread' | 'options' | 'datadir'>;
type Outside = Pick<Surroundings, 'run' | 'files' | 'paths' | 'uid'>;

/** The groups that MariaDB's client reads. */
const CLIENT_GROUPS = ['client', 'client-server', 'client-mariadb', 'mariadb-client'];
/** The sockets of servers without a `socket` in their options: on Debian, on Red Hat, and as MariaDB builds it. */
const SOCKETS = ['/run/mysqld/mysqld.sock', '/var/lib/mysql/mysql.sock', '/tmp/mysql.sock'];
const PORT = 3306;
/** The name that MariaDB's clients take for the socket. */
const LOCAL = 'localhost';

/**
 * Returns the way to the running server: by the command line, else by the client's groups of its option files, else by
 * the server's own socket, as the user of the system.
 * @throws KeyError BAD_OPTION
 */
export async function sqlTargetOf(
  flags: SqlFlags,
  server: Server,
  surroundings: Outside,
  signal: AbortSignal,
): Promise<SqlTarget> {
  if (flags.socket !== undefined && (flags.host !== undefined || flags.port !== undefined))
    throw new KeyError('BAD_OPTION', '--socket and --host or --port: only one way at a time');
  const client = await clientOptions(server, surroundings, signal);
  const place = await placeOf(flags, client, server, surroundings);
  const authorities = flags.sslCa ?? client.last('ssl_ca');
  return {
    place,
    user: flags.user ?? client.last('user') ?? (await ownName(surroundings)),
    password: await passwordOf(flags, client, surroundings),
    certificates:
      'socket' in place || authorities === undefined ? undefined : await readText(authorities, 'ssl-ca', surroundings),
  };
}

async function clientOptions(
  { request, unread }: Server,
  { run }: Outside,
  signal: AbortSignal,
): Promise<ServerOptions> {
  const { defaults } = request;
  if (unread !== undefined) return new ServerOptions([]);
  const read = await run(
    'my_print_defaults',
    [...(defaults === undefined ? [] : [defaults]), ...CLIENT_GROUPS],
    signal,
  );
  // A `password` without a value has MariaDB's client ask for it.
  const lines = (read?.code === 0 ? read.stdout : '').split('\n').filter((line) => line.includes('='));
  return new ServerOptions(parseOptionLines(lines.join('\n'), []));
}

async function placeOf(
  flags: SqlFlags,
  client: ServerOptions,
  { options, datadir }: Server,
  surroundings: Outside,
): Promise<SqlTarget['place']> {
  const host = flags.host ?? (flags.port === undefined ? client.last('host') : '127.0.0.1');
  if (flags.socket === undefined && host !== undefined && host !== LOCAL)
    return { host, port: flags.port ?? client.number('port', PORT) ?? PORT };
  const named = flags.socket ?? client.last('socket');
  if (named !== undefined) return { socket: resolve(named) };
  const own = options.last('socket');
  return { socket: own === undefined ? await usualSocket(surroundings) : resolve(datadir, own) };
}

async function usualSocket({ files }: Outside): Promise<string> {
  const [first = '', ...others] = SOCKETS;
  for (const path of [first, ...others]) {
    const isSocket = await files.stat(path).then(
      (facts) => facts.isSocket(),
      () => false,
    );
    if (isSocket) return path;
  }
  return first;
}

async function passwordOf(flags: SqlFlags, client: ServerOptions, surroundings: Outside): Promise<string> {
  const { passwordFile } = flags;
  if (passwordFile === undefined) return client.last('password') ?? '';
  const password = (await readText(passwordFile, 'password-file', surroundings)).replace(/\r?\n$/, '');
  if (password === '') throw new KeyError('BAD_OPTION', `--password-file ${passwordFile}: the file is empty`);
  return password;
}

async function readText(path: string, option: string, { files }: Outside): Promise<string> {
  try {
    return (await files.readFile(path)).toString('utf8');
  } catch (cause) {
    const reason = systemErrorCode(cause) ?? 'unreadable';
    throw new KeyError('BAD_OPTION', `--${option} ${path}: ${reason}`, { cause });
  }
}

async function ownName(surroundings: Outside): Promise<string> {
  const account = await findAccount(surroundings.uid, surroundings);
  if (account !== undefined) return account.name;
  throw new KeyError('BAD_OPTION', `user ${surroundings.uid} has no name on this machine: name the server's --user`);
}
