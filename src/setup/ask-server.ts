import type { Surroundings } from '../server/surroundings.ts';

export interface ServerState {
  /** `unknown`: it answers, and does not let this user in. */
  readonly answers: 'yes' | 'no' | 'unknown';
  /** Names of encryption plugins that are active; empty unless `answers` is yes. */
  readonly encryptionPlugins: readonly string[];
  /** The client's message; empty: none. */
  readonly problem: string;
}

const QUERY =
  "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_TYPE='ENCRYPTION' AND PLUGIN_STATUS='ACTIVE'";
/** Errors of the client when there is nothing to connect to. */
const UNREACHED = /\b(?:ERROR )?200[23]\b|Can't connect/;

/** Asks the running server, as root with MariaDB's client. */
export async function askRunningServer(
  { run }: Pick<Surroundings, 'run'>,
  defaults: string | undefined,
  signal: AbortSignal,
): Promise<ServerState> {
  const options = ['--connect-timeout=5', '--batch', '--skip-column-names', '--execute', QUERY];
  const ran = await run('mariadb', [...(defaults === undefined ? [] : [defaults]), ...options], signal);
  if (ran === undefined) return { answers: 'unknown', encryptionPlugins: [], problem: 'there is no mariadb client' };
  if (ran.code === 0) {
    const encryptionPlugins = ran.stdout.split('\n').filter((line) => line !== '');
    return { answers: 'yes', encryptionPlugins, problem: '' };
  }
  const problem = ran.stderr.trim().split('\n', 1)[0] ?? '';
  return { answers: UNREACHED.test(problem) ? 'no' : 'unknown', encryptionPlugins: [], problem };
}
