import { failure, ok, type Report, warning } from '../finding.ts';
import { PLUGIN_OPTIONS } from './plugin-options.ts';
import type { DoctorRequest } from './request.ts';
import { parseOptionLines, ServerOptions } from './server-options.ts';
import type { Surroundings } from './surroundings.ts';
import { unreadGroups } from './unread-groups.ts';

export interface ServerFacts {
  readonly options: ServerOptions;
  /** The reason why the option files could not be read. */
  readonly unread: string | undefined;
  /** A version such as `10.11.19`; undefined when no mariadbd was found. */
  readonly version: string | undefined;
  readonly report: Report;
  /** Options in groups that the server does not read. */
  readonly unreadGroups: readonly Report[];
}

/** Reads the server's options: its option files, then the flags of the command line. */
export async function readServerFacts(
  request: DoctorRequest,
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<ServerFacts> {
  const { run } = surroundings;
  const version = await serverVersion(run, signal);
  const flags = parseOptionLines(flagLines(request), PLUGIN_OPTIONS);
  if (request.defaults === '--no-defaults') {
    const report = ok('not read, as asked: the flags count alone');
    return {
      options: new ServerOptions(flags),
      unread: 'the option files were not to be read',
      version,
      report,
      unreadGroups: [],
    };
  }
  const groups = [...serverGroups(version), ...request.groups];
  const { defaults } = request;
  const read = await run('my_print_defaults', [...(defaults === undefined ? [] : [defaults]), ...groups], signal);
  if (read === undefined || read.code !== 0) {
    const report =
      read === undefined
        ? failure(
            'my_print_defaults is not there to read the option files',
            'install it (Debian: mariadb-server-core; Red Hat: mariadb), or give flags with --no-defaults',
          )
        : failure(
            `my_print_defaults failed: ${firstLine(read.stderr)}`,
            'the server reads the same files and would stop at the same place: correct that file',
          );
    return {
      options: new ServerOptions(flags),
      unread: 'the option files could not be read',
      version,
      report,
      unreadGroups: [],
    };
  }
  const entries = parseOptionLines(read.stdout, PLUGIN_OPTIONS);
  const from = defaults?.replace(/^--defaults-(?:extra-)?file=/, '') ?? 'the default option files';
  const report =
    entries.length > 0
      ? ok(`${entries.length} server options in ${from}`)
      : warning(`no server options in ${from}`, 'options of the server belong into the section [mariadb]');
  const others = await unreadGroups(surroundings, defaults, groups, signal);
  return {
    options: new ServerOptions([...entries, ...flags]),
    unread: undefined,
    version,
    report,
    unreadGroups: others,
  };
}

async function serverVersion(run: Surroundings['run'], signal: AbortSignal): Promise<string | undefined> {
  const shown = await run('mariadbd', ['--no-defaults', '--version'], signal);
  return /\bVer (\d+\.\d+\.\d+)/.exec(shown?.stdout ?? '')?.[1];
}

/** The groups in the order of `mariadbd --help`. */
function serverGroups(version: string | undefined): readonly string[] {
  const series = /^\d+\.\d+/.exec(version ?? '')?.[0];
  const programs = ['mysqld', 'mariadb', 'mariadbd'];
  return [
    ...programs.flatMap((name) => [name, ...(series === undefined ? [] : [`${name}-${series}`])]),
    'server',
    'client-server',
    'galera',
  ];
}

function flagLines({ datadir, pluginDir, user, variables }: DoctorRequest): string {
  const given: readonly (readonly [string, string | undefined])[] = [
    ['datadir', datadir],
    ['plugin_dir', pluginDir],
    ['user', user],
    ...Object.entries(variables).map(([name, value]) => [`aws_key_management_${name}`, value] as const),
  ];
  return given.flatMap(([name, value]) => (value === undefined ? [] : [`--${name}=${value}`])).join('\n');
}

function firstLine(text: string): string {
  return text.trim().split('\n', 1)[0] ?? '';
}
