import { PREFIX } from './plugin-options.ts';
import type { DoctorRequest } from './request.ts';
import type { Account, Surroundings } from './surroundings.ts';

/** Mariadbd's own reading of its options. */
export interface ServerAnswer {
  /** True if it refused them: it would at every start. */
  readonly isRefused: boolean;
  /** Its error messages, without time and program name. */
  readonly errors: readonly string[];
  /** True if the table of installed plugins was read. */
  readonly knowsInstalled: boolean;
  /** The final value of each variable; empty where it prints none. */
  readonly variables: ReadonlyMap<string, string>;
}

const ERROR = /^(?:\d{4}-\d\d-\d\d +\d+:\d\d:\d\d +\d+ )?\[ERROR\] (?:\S*(?:mariadbd|mysqld): )?(.*)$/;
/** `mariadbd --help` has no keys, and so cannot read the list of installed plugins where Aria tables are encrypted. */
const NO_KEYS_FOR_PLUGINS =
  /^(?:Could not open mysql\.plugin table: ")?Initialization of encryption failed for \S*mysql\/plugin\.MA[DI]\b/;
const NO_VALUE = '(No default value)';

/**
 * Runs `mariadbd --help --verbose` with the server's options and as its user: it reads options and loads plugins, but
 * initialises none and touches no data. Returns undefined when there is no mariadbd.
 */
export async function askServer(
  { defaults, datadir, pluginDir, variables }: DoctorRequest,
  account: Account,
  { run, uid }: Pick<Surroundings, 'run' | 'uid'>,
  signal: AbortSignal,
): Promise<ServerAnswer | undefined> {
  const flags = [
    ...(datadir === undefined ? [] : [`--datadir=${datadir}`]),
    ...(pluginDir === undefined ? [] : [`--plugin-dir=${pluginDir}`]),
    ...Object.entries(variables).map(
      ([name, value]) => `--loose-aws-key-management-${name.replaceAll('_', '-')}=${value}`,
    ),
  ];
  const options = [...(defaults === undefined ? [] : [defaults]), '--help', '--verbose', ...flags];
  const result = await run('mariadbd', options, signal, uid === 0 && account.uid !== 0 ? account : undefined);
  return result === undefined ? undefined : parseServerAnswer(result.code, result.stdout, result.stderr);
}

/**
 * Tells whether the plugin is loaded: for a forced plugin mariadbd prints every variable except the one that forces it.
 */
export function loadsPlugin({ variables }: ServerAnswer): boolean {
  return [...variables.keys()].some((name) => name.startsWith(PREFIX));
}

export function parseServerAnswer(code: number, stdout: string, stderr: string): ServerAnswer {
  const lines = stderr.split('\n').map((line) => line.trim());
  const all = lines.map((line) => ERROR.exec(line)?.[1]).filter((text) => text !== undefined);
  const logged = all.filter((text) => !NO_KEYS_FOR_PLUGINS.test(text));
  const plain = lines.filter((line) => line !== '' && !/^\d{4}-|^\[|^Fatal error in defaults/.test(line));
  return {
    isRefused: code !== 0,
    errors: logged.length > 0 || code === 0 ? logged : plain,
    knowsInstalled: !stderr.includes('mysql.plugin') && logged.length === all.length,
    variables: parseVariables(stdout),
  };
}

function parseVariables(stdout: string): ReadonlyMap<string, string> {
  const [, table = ''] = stdout.split(/^-{20,} -+$/m);
  const rows = table.split('\n').map((line) => /^([a-z][\w-]*) +(.*)$/.exec(line));
  return new Map(
    rows.flatMap((row) => {
      const [, name, value] = row ?? [];
      if (name === undefined || value === undefined) return [];
      return [[name.replaceAll('-', '_'), value.trim() === NO_VALUE ? '' : value.trim()] as const];
    }),
  );
}
