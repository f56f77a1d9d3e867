import { expect, it } from 'vitest';
import { duration, progressBar } from '../../../src/cli/progress-line.ts';
import { FakeClock } from '../../support/fake-clock.ts';

it('a bar shows the share, from two seconds on the time left, and what is being done', async () => {
  const lines: string[] = [];
  const clock = new FakeClock();
  const bar = progressBar({ redraw: (line) => void lines.push(line) }, clock, 'rewrap');
  bar.at(0, 0);
  await clock.advance(1_000);
  bar.at(1, 4, 'key 7');
  bar.at(2, 4, 'drawn too soon after the last one');
  await clock.advance(2_000);
  bar.at(1, 4, 'key 8');
  await clock.advance(1_000);
  bar.at(5, 4);
  bar.clear();
  expect(lines).toEqual([
    'rewrap [#####...............] 25%: key 7',
    'rewrap [#####...............] 25%, about 9 s left: key 8',
    'rewrap [####################] 100%, about 0 s left',
    '',
  ]);
});

it('nothing is drawn without a terminal', async () => {
  const clock = new FakeClock();
  const bar = progressBar({}, clock, 'rewrap');
  await clock.advance(1_000);
  expect(() => {
    bar.at(1, 2);
    bar.clear();
  }).not.toThrow();
});

it('durations are rounded up to what people say', () => {
  expect([0, 59, 60, 61, 3_599, 3_600, 7_300].map(duration)).toEqual([
    '0 s',
    '59 s',
    '1 min',
    '2 min',
    '60 min',
    '1 h 0 min',
    '2 h 2 min',
  ]);
});
