import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { referenceDocument } from '../../../scripts/reference.ts';
import { agentCommand } from '../../../src/cli/agent.ts';
import { transcripts, variableSections } from '../../support/reference-page.ts';

const ROOT = join(import.meta.dirname, '../../..');
const PAGE = readFileSync(join(ROOT, 'docs/reference.md'), 'utf8');

it('the generated parts of the page are what the tables make', () => {
  expect(referenceDocument(PAGE), 'docs/reference.md is out of date: npm run docs').toBe(PAGE);
});

it('a page without a place for a generated part is an error', () => {
  const text = PAGE.replace('<!-- end of generated status variables -->', '');
  expect(() => referenceDocument(text)).toThrow('docs/reference.md has not one place for its status variables');
});

it('no two headings of the page have one anchor', () => {
  const anchors = [...PAGE.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading.toLowerCase());
  expect(anchors.filter((anchor, n) => anchors.indexOf(anchor) !== n)).toEqual([]);
});

it('the variables that an agent of its own has as options are those of its command line', () => {
  const named = [...variableSections('aws_key_management_').values()].flatMap(({ facts }) => {
    const fact = facts['An agent that listens'];
    return fact === undefined ? [] : [/^has its own `(--[a-z-]+)`$/.exec(fact)?.[1]];
  });
  const options = agentCommand().options.map(({ long }) => long);
  expect([...named, '--listen'].sort()).toEqual(options.sort());
});

it('the reasons that every user reads are those of the plugin', () => {
  const source = readFileSync(join(ROOT, 'plugin/client/reasons.c'), 'utf8');
  const reasons = [...source.matchAll(/^ *\{"\w*", "([^"]+)"\},$/gm), ...source.matchAll(/^ *return "([^"]+)";$/gm)];
  const [, table = ''] = PAGE.split('| reason | to do |\n|---|---|\n');
  const [rows = ''] = table.split('\n\n');
  expect(rows.split('\n').map((row) => row.split(' | ')[0]?.replace(/^\| /, ''))).toEqual(
    expect.arrayContaining(reasons.map(([, text]) => text)),
  );
  expect(rows.split('\n')).toHaveLength(reasons.length);
});

it('examples of one block are of one user', () => {
  expect(transcripts().map(({ user }) => user)).toContain('guest');
  expect(transcripts().filter(({ output }) => /^(?:MariaDB|guest)>/m.test(output))).toEqual([]);
});
