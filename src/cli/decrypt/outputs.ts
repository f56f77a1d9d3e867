import { basename, join } from 'node:path';
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
  const isDirectory = await stat(to).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isDirectory && files.length > 1)
    throw new KeyError('BAD_OPTION', `--to ${to}: expected a directory for ${files.length} files`);
  return isDirectory ? files.map((file) => join(to, basename(file))) : [to];
}
