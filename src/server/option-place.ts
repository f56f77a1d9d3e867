import type { Configuration } from './configuration.ts';
import type { Surroundings } from './surroundings.ts';

/** Directories of option files, of Debian and of Red Hat; `init` writes its file into the one that exists. */
const PLACES = ['/etc/mysql/mariadb.conf.d', '/etc/my.cnf.d'];
const OPTION_LINE = /^[a-z][a-z_]+ = \S+$/;

/** Names the file and section before each line of a cure that is a line of an option file. */
export async function withOptionPlace(
  fix: string,
  { request: { defaults } }: Configuration,
  { files }: Pick<Surroundings, 'files'>,
): Promise<string> {
  const lines = fix.split('\n');
  if (!lines.some((line) => OPTION_LINE.test(line))) return fix;
  const file = /^--defaults-(?:extra-)?file=(.+)$/.exec(defaults ?? '')?.[1] ?? (await defaultPlace(files));
  return lines.map((line) => (OPTION_LINE.test(line) ? `in ${file}, section [mariadb]: ${line}` : line)).join('\n');
}

async function defaultPlace(files: Surroundings['files']): Promise<string> {
  for (const directory of PLACES) {
    const isThere = await files.stat(directory).then(
      () => true,
      () => false,
    );
    if (isThere) return `${directory}/aws_key_management.cnf`;
  }
  return "the server's option file";
}
