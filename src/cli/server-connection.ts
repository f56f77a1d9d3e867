import { type Command, InvalidArgumentError } from 'commander';
import { within } from '../kms/retry.ts';
import type { Configuration } from '../server/configuration.ts';
import { type SqlFlags, sqlTargetOf } from '../server/sql-target.ts';
import type { Surroundings } from '../server/surroundings.ts';
import type { SqlServer, SqlTarget } from '../sql/server.ts';

const CONNECT_MS = 15_000;
const MAX_PORT = 65_535;

/** Adds the options that say how to reach the running server. Their values are `SqlFlags`. */
export function withServerConnection(command: Command): Command {
  return command
    .option('--socket <file>', 'socket of the running server (default: of the option files)')
    .option('--host <name>', 'reach the running server over TCP')
    .option('--port <number>', 'port of the running server', parsePort)
    .option(
      '--user <name>',
      "user of the running server (default: of the client's option files, else the system's user)",
    )
    .option(
      '--password-file <file>',
      "file with the user's password (default: of the client's option files, else none)",
    )
    .option('--ssl-ca <file>', 'certificates that vouch for the server; with --host, TLS is used');
}

/** Connects to the running server. @throws KeyError BAD_OPTION, SERVER_UNREACHABLE, SERVER_REFUSED, SQL_FAILED */
export async function connectToServer(
  flags: SqlFlags,
  server: Configuration,
  surroundings: Surroundings,
): Promise<SqlServer> {
  const target = await within(surroundings.clock, CONNECT_MS, (late) => sqlTargetOf(flags, server, surroundings, late));
  return await connectTo(target, surroundings);
}

/** For a command with several connections. @throws KeyError SERVER_UNREACHABLE, SERVER_REFUSED, SQL_FAILED */
export async function connectTo(target: SqlTarget, { clock, connectServer }: Surroundings): Promise<SqlServer> {
  return await within(clock, CONNECT_MS, (late) => connectServer(target, late));
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= MAX_PORT) return port;
  throw new InvalidArgumentError(`expected a number from 1 to ${MAX_PORT}`);
}
