import { expect, it } from 'vitest';
import { unlessAborted } from '../../../src/kms/retry.ts';

it.each(['the abort', 'the result'])(
  'a result in the same turn as the abort is either returned or discarded, %s first',
  async (first) => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const controller = new AbortController();
    const discarded: string[] = [];
    const outcome = unlessAborted(promise, controller.signal, (late) => discarded.push(late)).catch(() => 'aborted');
    if (first === 'the abort') controller.abort();
    resolve('key');
    controller.abort();
    const returned = await outcome;
    await Promise.resolve();
    expect([returned, discarded]).toEqual(returned === 'key' ? ['key', []] : ['aborted', ['key']]);
  },
);

it('a late result is passed to the discarder', async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const discarded: string[] = [];
  await expect(
    unlessAborted(promise, AbortSignal.abort(new Error('over')), (late) => discarded.push(late)),
  ).rejects.toThrow('over');
  resolve('key');
  await promise;
  expect(discarded).toEqual(['key']);
});
