import { join } from 'node:path';
import { type Report, warning } from '../finding.ts';
import type { Surroundings } from './surroundings.ts';

const OURS = /^(?:loose[-_])?(?:aws[-_]key[-_]management|plugin[-_]load(?:[-_]add)?\s*=.*aws_key_management)/;
const DEPTH = 4;

/** Reports options of the plugin in groups that the server does not read: my_print_defaults never shows them. */
export async function unreadGroups(
  { files, run, environment }: Pick<Surroundings, 'files' | 'run' | 'environment'>,
  defaults: string | undefined,
  groups: readonly string[],
  signal: AbortSignal,
): Promise<readonly Report[]> {
  const read = new Set(groups);
  const found = new Map<string, string>();
  const look = async (path: string, depth: number): Promise<void> => {
    const text = await files.readFile(path).then(
      (bytes) => bytes.toString('utf8'),
      () => '',
    );
    let group = '';
    for (const line of text.split('\n').map((written) => written.trim())) {
      const [, directive, target = ''] = /^!(include|includedir)\s+(.+)$/.exec(line) ?? [];
      group = /^\[([^\]]+)\]/.exec(line)?.[1]?.trim() ?? group;
      if (OURS.test(line) && group !== '' && !read.has(group)) found.set(`${path}\n${group}`, group);
      if (directive === undefined || depth === 0) continue;
      if (directive === 'include') await look(target, depth - 1);
      else {
        const inside = await files.keyDirectory.readdir(target).catch(() => []);
        for (const name of inside.filter((each) => each.endsWith('.cnf')).sort())
          await look(join(target, name), depth - 1);
      }
    }
  };
  for (const path of await optionFiles(run, defaults, environment['HOME'], signal)) await look(path, DEPTH);
  return [...found].map(([key, group]) => {
    const text = `[${group}] in ${key.split('\n', 1)[0]} holds options of the plugin, and the server does not read that group`;
    return warning(text, 'move them to the section [mariadb]');
  });
}

/** The files that the server would read, as my_print_defaults lists them. */
async function optionFiles(
  run: Surroundings['run'],
  defaults: string | undefined,
  home: string | undefined,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const [, isExtra, named] = /^--defaults-(extra-)?file=(.+)$/.exec(defaults ?? '') ?? [];
  if (named !== undefined && isExtra === undefined) return [named];
  const help = (await run('my_print_defaults', ['--help'], signal))?.stdout ?? '';
  const listed = /following files in the given order:\s*\n(.*)/.exec(help)?.[1]?.trim().split(/\s+/) ?? [];
  const expanded = listed.map((path) => (path.startsWith('~/') && home ? join(home, path.slice(2)) : path));
  return [...expanded, ...(named === undefined ? [] : [named])];
}
