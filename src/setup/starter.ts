import type { Configuration } from '../server/configuration.ts';
import type { CommandResult, Surroundings } from '../server/surroundings.ts';

/** systemd; Debian's script; or something else, such as the entry point of a container. */
export type Starter = 'systemd' | 'script' | 'unknown';

const UNIT = 'mariadb.service';

/** Returns false as well for a path that cannot be looked at. */
export async function exists(path: string, { files }: Pick<Surroundings, 'files'>): Promise<boolean> {
  return await files.stat(path).then(
    () => true,
    () => false,
  );
}

export async function starterOf(surroundings: Surroundings): Promise<Starter> {
  const { paths } = surroundings;
  if (await exists(paths.systemd, surroundings)) return 'systemd';
  return (await exists(paths.initScript, surroundings)) ? 'script' : 'unknown';
}

/** The name of the server's unit with `.service`. */
export function unitOf({ service }: Pick<Configuration, 'service'>): string {
  return service.unit?.name ?? UNIT;
}

export type Verb = 'restart' | 'stop' | 'start';

/** The command that restarts, stops or starts the server; undefined: only the administrator knows. */
export function serverCommand(
  verb: Verb,
  starter: Starter,
  configuration: Pick<Configuration, 'service'>,
  { paths }: Pick<Surroundings, 'paths'>,
): readonly string[] | undefined {
  if (starter === 'systemd') return ['systemctl', verb, unitOf(configuration).replace(/\.service$/, '')];
  return starter === 'script' ? [paths.initScript, verb] : undefined;
}

/**
 * A script leaves processes behind that hold its output open, so the output goes through a file. As service(8) does, it
 * passes on nothing of this environment but the search path.
 */
const SCRIPT = `f=$(mktemp) || exit 1
env -i PATH="$PATH" LC_ALL=C "$@" >"$f" 2>&1 </dev/null
code=$?
tail -c 4096 "$f"
rm -f "$f"
exit $code`;

/** @returns exit status and output; status 127 for a program that is not there */
export async function runDetached(
  command: readonly string[],
  { run }: Pick<Surroundings, 'run'>,
  signal: AbortSignal,
): Promise<CommandResult> {
  const ran = await run('sh', ['-c', SCRIPT, 'sh', ...command], signal);
  return ran ?? { code: 127, stdout: '', stderr: 'there is no sh' };
}
