import { isSea } from 'node:sea';

/** The program and the first arguments that start this program once more, as an executable or from its sources. */
export function ownProgram(): readonly [program: string, ...commandArguments: readonly string[]] {
  return isSea() ? [process.execPath] : [process.execPath, process.argv[1] ?? ''];
}
