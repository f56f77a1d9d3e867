/** Makes new versions by the server. */
import { type KeyError, toKeyError } from '../../errors.ts';
import type { SqlServer } from '../../sql/server.ts';
import { readKeys } from './state.ts';

export interface NewVersion {
  readonly keyId: number;
  readonly from: number;
  readonly to: number;
}

export interface Rotated {
  readonly rotated: readonly NewVersion[];
  /** Keys that were not tried. */
  readonly untried: readonly number[];
  readonly problems: readonly KeyError[];
}

const ALL = -1;

/**
 * Rotates these keys, all of them in one statement if the server has no others. A statement that was sent is waited
 * for: `interrupted` keeps those after it from being sent.
 * @param before the latest version of each key of the server
 */
export async function rotateKeys(
  sql: SqlServer,
  keyIds: readonly number[],
  before: ReadonlyMap<number, number>,
  interrupted: AbortSignal,
): Promise<Rotated> {
  const never = new AbortController().signal;
  const statements = keyIds.length === before.size && keyIds.length > 1 ? [ALL] : keyIds;
  const problems: KeyError[] = [];
  let sent = 0;
  for (const id of statements) {
    if (interrupted.aborted) break;
    sent += 1;
    try {
      await sql.query('SET GLOBAL aws_key_management_rotate_key = ?', [id], never);
    } catch (thrown) {
      const problem = toKeyError(thrown);
      problems.push(problem);
      if (problem.code !== 'SQL_FAILED') break;
    }
  }
  const untried = statements.slice(sent);
  const after = await readKeys(sql, never).catch((thrown: unknown) => {
    problems.push(toKeyError(thrown));
    return before;
  });
  const rotated = keyIds.flatMap((keyId) => {
    const [from, to] = [before.get(keyId) ?? 0, after.get(keyId) ?? 0];
    return to > from ? [{ keyId, from, to }] : [];
  });
  return { rotated, untried: untried.includes(ALL) ? keyIds : untried, problems };
}
