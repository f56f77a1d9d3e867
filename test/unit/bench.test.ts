import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { dollarsPerYear, requestsPerYear } from '../../bench/cost.ts';
import { SECTIONS } from '../../bench/sections.ts';
import { median, ratios, table, withSpread } from '../../bench/statistics.ts';

it('docs/performance.md has a place for every section of the benchmark, in the same order', () => {
  const document = readFileSync(join(import.meta.dirname, '../../docs/performance.md'), 'utf8');
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

it('tables are Markdown', () => {
  expect(table(['what', 'ns'], [['a', '1']])).toBe('| what | ns |\n|---|---:|\n| a | 1 |\n');
});

it('a fleet pays for the starts, rotations and hourly looks of each server, and for its master key', () => {
  const fleet = { name: 'f', servers: 10, shape: { ids: 1, versions: 1 }, startsPerYear: 2, rotationsPerYear: 3 };
  expect(requestsPerYear(fleet, { start: 100, rotation: 7, look: 1 })).toBe(10 * (200 + 21 + 8760));
  expect(dollarsPerYear(1_000_000)).toBe(15);
});
