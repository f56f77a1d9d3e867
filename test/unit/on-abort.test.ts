import { expect, it } from 'vitest';
import { onAbort } from '../../src/on-abort.ts';

it('an abort calls each listener that was not removed, once', () => {
  const controller = new AbortController();
  const called: number[] = [];
  const removers = [0, 1, 2, 3, 4].map((each) => onAbort(controller.signal, () => void called.push(each)));
  // From the middle, the end and the beginning; one of them twice.
  for (const each of [1, 4, 1, 0]) removers[each]?.();
  const late = onAbort(controller.signal, () => void called.push(5));
  controller.abort();
  expect(called.sort()).toEqual([2, 3, 5]);
  for (const remove of [...removers, late]) remove();
  expect(called.length).toBe(3);
});

it('a listener that another one removes during the abort is not called', () => {
  const controller = new AbortController();
  const called: string[] = [];
  onAbort(controller.signal, () => {
    called.push('first');
    removeSecond();
  });
  const removeSecond = onAbort(controller.signal, () => void called.push('second'));
  onAbort(controller.signal, () => void called.push('third'));
  controller.abort();
  expect(called).toEqual(['first', 'third']);
});
