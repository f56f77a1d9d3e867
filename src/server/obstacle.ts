import { dirname } from 'node:path';
import { classOf, describeMode, ENTER, may } from './account.ts';
import type { Account, FileFacts, Files } from './surroundings.ts';

/** A permission that an account lacks. */
export interface Obstacle {
  /** The account, the path and its mode. */
  readonly found: string;
  /** The path without links. */
  readonly path: string;
  /** A shell command that lets the account enter the directories above the path. Undefined when it may. */
  readonly enter: string | undefined;
}

/**
 * Returns the reason why `account` may not access an existing path, or undefined. Checks every directory above it as
 * well.
 */
export async function findObstacle(
  files: Files,
  account: Account,
  path: string,
  wish: number,
): Promise<Obstacle | undefined> {
  const real = await files.realpath(path);
  const closed: { readonly directory: string; readonly facts: FileFacts }[] = [];
  for (const directory of directoriesAbove(real)) {
    const facts = await files.stat(directory);
    if (!may(account, facts, ENTER)) closed.push({ directory, facts });
  }
  const [first] = closed;
  if (first !== undefined) {
    const found = describe(account, 'enter', first.directory, first.facts);
    const enter = closed.map(({ directory, facts }) => `chmod ${classOf(account, facts)}+x ${directory}`).join(' && ');
    return { found, path: real, enter };
  }
  const facts = await files.stat(real);
  if (may(account, facts, wish)) return undefined;
  return { found: describe(account, VERBS[wish] ?? 'use', real, facts), path: real, enter: undefined };
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
