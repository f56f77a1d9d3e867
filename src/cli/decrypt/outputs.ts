import { basename, dirname, join } from 'node:path';
import { KeyError } from '../../errors.ts';
import type { Surroundings } from '../../server/surroundings.ts';

/**
 * Returns the path of each copy: `to` for one file, and files of the same names in it if it is a directory.
 * @throws KeyError BAD_OPTION
 */
export async function outputPaths(
  files: readonly string[],
  to: string,
  { files: { stat } }: Surroundings,
): Promise<readonly string[]> {
  const isDirectory = (path: string): Promise<boolean> =>
    stat(path).then(
      (found) => found.isDirectory(),
      () => false,
    );
  if (await isDirectory(to)) return inDirectory(files, to);
  const hint = 'make the directory first, for its owner alone: install -d -m 700 DIRECTORY';
  if (files.length > 1)
    throw new KeyError('BAD_OPTION', `--to ${to}: expected a directory for ${files.length} files`, { hint });
  if (to.endsWith('/')) throw new KeyError('BAD_OPTION', `--to ${to}: there is no such directory`, { hint });
  if (!(await isDirectory(dirname(to))))
    throw new KeyError('BAD_OPTION', `--to ${to}: there is no directory ${dirname(to)}`, { hint });
  return [to];
}

function inDirectory(files: readonly string[], directory: string): readonly string[] {
  const sources = new Map<string, string>();
  for (const file of files) {
    const path = join(directory, basename(file));
    const other = sources.get(path);
    if (other !== undefined)
      throw new KeyError('BAD_OPTION', `--to ${directory}: ${other} and ${file} would have the same copy, ${path}`, {
        hint: 'copy them by two commands, to two directories',
      });
    sources.set(path, file);
  }
  return [...sources.keys()];
}
