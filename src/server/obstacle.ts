import { dirname } from 'node:path';
import { describeMode, ENTER, may } from './account.ts';
import type { Account, FileFacts, Files } from './surroundings.ts';

/** Why `account` may not do `wish` with an existing path, or undefined. Looks at every directory above it as well. */
export async function findObstacle(
  files: Files,
  account: Account,
  path: string,
  wish: number,
): Promise<string | undefined> {
  const real = await files.realpath(path);
  for (const directory of directoriesAbove(real)) {
    const facts = await files.stat(directory);
    if (!may(account, facts, ENTER)) return describe(account, 'enter', directory, facts);
  }
  const facts = await files.stat(real);
  return may(account, facts, wish) ? undefined : describe(account, VERBS[wish] ?? 'use', real, facts);
}

const VERBS: Readonly<Record<number, string>> = {
  1: 'execute',
  2: 'write',
  4: 'read',
  5: 'read',
  6: 'read and write',
  7: 'list and write',
};

function directoriesAbove(path: string): readonly string[] {
  const above = dirname(path);
  return above === path ? [] : [...directoriesAbove(above), above];
}

function describe({ name }: Account, verb: string, path: string, facts: FileFacts): string {
  return `${name} may not ${verb} ${path} (${describeMode(facts)})`;
}
