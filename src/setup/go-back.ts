import { KeyError, toKeyError } from '../errors.ts';

/** Undoes a part and says so; empty: there is nothing to say. */
export type StepBack = (signal: AbortSignal) => Promise<string>;

/**
 * Goes the whole way back after a failure: a step that fails does not stop those after it, and the time limit of the way
 * forth does not hold.
 * @returns the failure, with what the steps say
 */
export async function goBack(thrown: unknown, steps: readonly StepBack[]): Promise<KeyError> {
  const { signal } = new AbortController();
  const { code, message, hint } = toKeyError(thrown);
  const words = [message];
  for (const step of steps) {
    try {
      words.push(await step(signal));
    } catch (error) {
      words.push(`then: ${toKeyError(error).message}`);
    }
  }
  return new KeyError(code, words.filter((text) => text !== '').join('; '), { hint, cause: thrown });
}
