import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
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

it.each([
  ['## 1.2.3 (2030-01-31)', 0],
  ['## 1.2.3 (unreleased)', 1],
  ['## 1.2.4 (2030-01-31)', 1],
  ['## 1.2.4 (unreleased)\n\n## 1.2.3 (2030-01-31)', 1],
])('the first step on version 1.2.3 and the heading %j ends with status %d', (headings, expected) => {
  const directory = mkdtempSync(join(tmpdir(), 'mak-release-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, 'package.json'), '{ "version": "1.2.3", "type": "module" }');
  writeFileSync(join(directory, 'CHANGELOG.md'), `# Changelog\n\n${headings}\nText.\n`);
  const { status } = spawnSync('sh', ['-eu', '-c', readReleaseSteps()[0]?.commands ?? ''], { cwd: directory });
  expect(status).toBe(expected);
});
