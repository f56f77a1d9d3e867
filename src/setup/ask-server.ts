import type { CommandResult, Surroundings } from '../server/surroundings.ts';

export interface ServerState {
  /** `unknown`: it answers, and does not let this user in. */
  readonly answers: 'yes' | 'no' | 'unknown';
  /** Names of encryption plugins that are active; empty unless `answers` is yes. */
  readonly encryptionPlugins: readonly string[];
  /** The client's message; empty: none. */
  readonly problem: string;
}

const PLUGINS =
  "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_TYPE='ENCRYPTION' AND PLUGIN_STATUS='ACTIVE'";
/** Tablespaces with encrypted pages, or that will have some: their files may not tell yet. */
const TABLESPACES =
  'SELECT NAME FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE ENCRYPTION_SCHEME <> 0 AND (MIN_KEY_VERSION <> 0 OR CURRENT_KEY_VERSION <> 0)';
/** Errors of the client when there is nothing to connect to. */
const UNREACHED = /\b(?:ERROR )?200[23]\b|Can't connect/;

type Ask = Pick<Surroundings, 'run'>;

/** Asks the running server, as root with MariaDB's client. */
export async function askRunningServer(
  outside: Ask,
  defaults: string | undefined,
  signal: AbortSignal,
): Promise<ServerState> {
  const ran = await query(outside, defaults, PLUGINS, signal);
  if (ran === undefined) return { answers: 'unknown', encryptionPlugins: [], problem: 'there is no mariadb client' };
  if (ran.code === 0) return { answers: 'yes', encryptionPlugins: linesOf(ran.stdout), problem: '' };
  const problem = firstLine(ran.stderr);
  return { answers: UNREACHED.test(problem) ? 'no' : 'unknown', encryptionPlugins: [], problem };
}

/** Names of encrypted tablespaces, such as `database/table`, or the reason why the server did not tell them. */
export async function encryptedTablespaces(
  outside: Ask,
  defaults: string | undefined,
  signal: AbortSignal,
): Promise<readonly string[] | string> {
  const ran = await query(outside, defaults, TABLESPACES, signal);
  if (ran === undefined) return 'there is no mariadb client';
  return ran.code === 0 ? linesOf(ran.stdout) : firstLine(ran.stderr);
}

async function query(
  { run }: Ask,
  defaults: string | undefined,
  statement: string,
  signal: AbortSignal,
): Promise<CommandResult | undefined> {
  const options = ['--connect-timeout=5', '--batch', '--skip-column-names', '--execute', statement];
  return await run('mariadb', [...(defaults === undefined ? [] : [defaults]), ...options], signal);
}

function linesOf(text: string): readonly string[] {
  return text.split('\n').filter((line) => line !== '');
}

function firstLine(text: string): string {
  return text.trim().split('\n', 1)[0] ?? '';
}
