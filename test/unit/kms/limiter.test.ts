import { expect, it } from 'vitest';
import { MOST_CALLS_AT_ONCE } from '../../../src/kms/client.ts';
import { CallLimiter } from '../../../src/kms/limiter.ts';

/** The limit after a thousand calls that take so many milliseconds each. */
function limitAfter(...ms: readonly number[]): number {
  const limiter = new CallLimiter(() => 0);
  for (let call = 0; call < 1000; call += 1) limiter.succeeded(ms[call % ms.length] ?? 0);
  return limiter.limit;
}

it.each([
  [0, 128],
  [20, 128],
  [60, 150],
  [100, 250],
  [300, MOST_CALLS_AT_ONCE],
])('with calls of %i ms the limiter ends at %i of them', (ms, limit) => {
  expect(limitAfter(ms)).toBe(limit);
});

it('the limiter takes calls that are slow under load for no sign of distance', () => {
  expect(limitAfter(20, 1000)).toBe(128);
});

it('the limiter halves its limit when KMS throttles a far Region', () => {
  const limiter = new CallLimiter(() => 0);
  for (let call = 0; call < 1000; call += 1) limiter.succeeded(100);
  limiter.throttled();
  expect(limiter.limit).toBe(125);
});
