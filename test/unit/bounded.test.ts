import { expect, it } from 'vitest';
import { forEachBounded, type Room } from '../../src/bounded.ts';

/** Actions that end when the test says so. */
function actions() {
  const started: number[] = [];
  const ends = new Map<number, { resolve: () => void; reject: (error: Error) => void }>();
  return {
    started,
    ends,
    action: (item: number): Promise<void> => {
      started.push(item);
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      ends.set(item, { resolve, reject });
      return promise;
    },
  };
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

it('actions start in order, no more than the limit at a time', async () => {
  const { started, ends, action } = actions();
  const all = forEachBounded([1, 2, 3, 4], 2, action);
  expect(started).toEqual([1, 2]);
  ends.get(2)?.resolve();
  await turn();
  expect(started).toEqual([1, 2, 3]);
  ends.get(1)?.resolve();
  await turn();
  for (const item of [3, 4]) ends.get(item)?.resolve();
  await all;
  expect(started).toEqual([1, 2, 3, 4]);
});

it('without items nothing runs', async () => {
  const { started, action } = actions();
  await forEachBounded([], 2, action);
  expect(started).toEqual([]);
});

it('the first failure is the result', async () => {
  const { ends, action } = actions();
  const all = forEachBounded([1, 2], 2, action);
  ends.get(2)?.reject(new Error('second'));
  ends.get(1)?.reject(new Error('first'));
  await expect(all).rejects.toThrow('second');
});

it('a limit that grows starts further actions at once, and is watched until the end', async () => {
  let most = 1;
  const watchers = new Set<() => void>();
  const room: Room = {
    get most() {
      return most;
    },
    watch: (look) => {
      watchers.add(look);
      return () => void watchers.delete(look);
    },
  };
  const { started, ends, action } = actions();
  const all = forEachBounded([1, 2, 3], room, action);
  expect(started).toEqual([1]);
  most = 2;
  for (const look of watchers) look();
  expect(started).toEqual([1, 2]);
  most = 1;
  ends.get(1)?.resolve();
  await turn();
  expect(started, 'the limit has shrunk').toEqual([1, 2]);
  ends.get(2)?.resolve();
  await turn();
  expect(started).toEqual([1, 2, 3]);
  ends.get(3)?.resolve();
  await all;
  expect(watchers.size).toBe(0);
});
