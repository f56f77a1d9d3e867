import { expect } from 'vitest';
import { type ErrorCode, KeyError } from '../../src/errors.ts';

/** The error of a call that must fail, with its code and message asserted. */
export async function expectKeyError(
  action: Promise<unknown> | (() => unknown),
  code: ErrorCode,
  message: string | RegExp,
): Promise<KeyError> {
  let thrown: unknown;
  try {
    await (typeof action === 'function' ? action() : action);
  } catch (error) {
    thrown = error;
  }
  expect(thrown, 'expected a KeyError').toBeInstanceOf(KeyError);
  if (!(thrown instanceof KeyError)) throw new Error('unreachable');
  expect({ code: thrown.code, message: thrown.message }).toEqual({
    code,
    message: typeof message === 'string' ? message : expect.stringMatching(message),
  });
  return thrown;
}
