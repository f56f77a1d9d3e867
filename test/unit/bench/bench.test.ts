import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { withoutStarts } from '../../../bench/audit.ts';
import { dollarsPerYear, requestsPerYear } from '../../../bench/cost.ts';
import { forEach, measureCommand, usedBy } from '../../../bench/measured-command.ts';
import { SECTIONS } from '../../../bench/sections.ts';
import {
  geometricMean,
  median,
  medianInterval,
  ratios,
  table,
  withInterval,
  withSpread,
} from '../../../bench/statistics.ts';
import { type Runner, takeTurns } from '../../../bench/turns.ts';

it('docs/performance.md has a place for every section of the benchmark, in the same order', () => {
  const document = readFileSync(join(import.meta.dirname, '../../../docs/performance.md'), 'utf8');
  const places = (start: string): (string | undefined)[] =>
    [...document.matchAll(new RegExp(`^<!-- ${start}made by npm run bench: (\\S+) -->$`, 'gm'))].map(
      ([, name]) => name,
    );
  const names = SECTIONS.map(({ name }) => name);
  expect(places('')).toEqual(names);
  expect(places('end of ')).toEqual(names);
});

it('the median is the middle, or between the two middle ones', () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([10, 1, 2, 4])).toBe(3);
  expect(() => median([])).toThrow('no values to take a median of');
});

it('ratios are taken round by round', () => {
  expect(ratios([2, 9], [1, 3])).toEqual([2, 3]);
  expect(() => ratios([1], [])).toThrow('a ratio needs as many values as references');
});

it('figures show their spread, a single one has none', () => {
  expect(withSpread([3, 1, 2], 1)).toBe('2.0 (1.0–3.0)');
  expect(withSpread([1.25], 2)).toBe('1.25');
});

it('the interval of the median leaves out as many of the smallest and largest as 95 % allow', () => {
  const values = (count: number): number[] => Array.from({ length: count }, (_, i) => count - i);
  const ofFirst = [1, 5, 6, 8, 9, 11, 12, 15, 25].map((count) => medianInterval(values(count)));
  expect(ofFirst).toEqual([undefined, undefined, [1, 6], [1, 8], [2, 8], [2, 10], [3, 10], [4, 12], [8, 18]]);
  expect(medianInterval([])).toBeUndefined();
});

it('figures show the interval of their median where there is one', () => {
  expect(withInterval([9, 1, 3, 4, 2, 8, 7, 6, 5], 1)).toBe('5.0 (2.0–8.0)');
  expect(withInterval([3, 1, 2], 1)).toBe('2.0');
});

it('the geometric mean of ratios weighs inverse ratios equally', () => {
  expect(geometricMean([2, 8])).toBe(4);
  expect(geometricMean([0.5, 2])).toBe(1);
});

it('loads take turns until each has ended, one at a time', async () => {
  const log: string[] = [];
  const runner = (name: string, turns: number): Runner => {
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    let turn = 0;
    const resume = (): void => {
      log.push(`${name} goes on`);
      turn += 1;
      if (turn === turns) resolve();
    };
    return { resume, stop: () => void log.push(`${name} stops`), ended };
  };
  const spent = await takeTurns([runner('a', 2), runner('b', 1), runner('c', 3)], 1);
  const turn = (name: string): string[] => [`${name} goes on`, `${name} stops`];
  expect(log).toEqual(['a', 'b', 'c', 'a', 'c', 'c'].flatMap(turn));
  expect(spent.map((ms) => ms > 0)).toEqual([true, true, true]);
});

it('a load that fails is stopped', async () => {
  const log: string[] = [];
  const ended = Promise.reject(new Error('broken'));
  const broken: Runner = { resume: () => void log.push('goes on'), stop: () => void log.push('stops'), ended };
  await expect(takeTurns([broken], 1)).rejects.toThrow('broken');
  expect(log).toEqual(['goes on', 'stops']);
});

it('tables are Markdown', () => {
  expect(table(['what', 'ns'], [['a', '1']])).toBe('| what | ns |\n|---|---:|\n| a | 1 |\n');
});

it('a fleet pays for the starts, rotations and hourly looks of each server, and for its master key', () => {
  const fleet = { name: 'f', servers: 10, shape: { ids: 1, versions: 1 }, startsPerYear: 2, rotationsPerYear: 3 };
  expect(requestsPerYear(fleet, { start: 100, rotation: 7, look: 1 })).toBe(10 * (200 + 21 + 8760));
  expect(dollarsPerYear(1_000_000)).toBe(15);
});

it('starts are taken from the time of their round', () => {
  expect(withoutStarts([5, 9], [1, 2])).toEqual([4, 7]);
  expect(() => withoutStarts([1], [])).toThrow('each time needs the starts of its round');
});

it('the report of time has seconds and KiB', () => {
  expect(usedBy('1.50 0.25 2048\n')).toEqual({ cpuMs: 1750, residentBytes: 2_097_152 });
  expect(() => usedBy('Command terminated')).toThrow('time reported Command terminated');
});

it('a program is started for each argument until it fails', async () => {
  const { ms, cpuMs, residentBytes } = await measureCommand(forEach('test -n', ['a b', 'c']));
  expect(ms).toBeGreaterThan(0);
  expect(cpuMs).toBeGreaterThanOrEqual(0);
  expect(residentBytes).toBeGreaterThan(100_000);
  await expect(measureCommand(forEach('test -n', ['a', '', 'c']))).rejects.toThrow('ended with 1');
});
