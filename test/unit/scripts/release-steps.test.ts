import { expect, it } from 'vitest';
import { readReleaseSteps } from '../../../scripts/release-steps.ts';

it('the release has steps that commands do, and steps of a person', () => {
  const steps = readReleaseSteps();
  expect(steps.map(({ title }) => title)).toContain('The owner signs');
  const byCommands = steps.filter(({ commands }) => commands !== '').map(({ commands }) => commands);
  expect(byCommands.join('')).toContain('npm test\n');
  expect(byCommands.join('')).toContain('npm run test:reproducible\nnpm run test:packages\n');
  expect(steps.filter(({ commands }) => commands === '').map(({ number }) => number)).toEqual([7, 8, 9]);
  for (const { text } of steps) expect(text).not.toBe('');
});
