import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { commentRuleViolations } from '../../../scripts/comment-rule.ts';

function violations(file: string, text: string): readonly string[] {
  const root = mkdtempSync(join(tmpdir(), 'mak-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  mkdirSync(dirname(join(root, file)), { recursive: true });
  writeFileSync(join(root, file), text);
  return commentRuleViolations(root);
}

it.each([
  ['src/a.ts', '/** What it does. */\n', 1, 'What'],
  ['src/a.ts', 'const a = 1;\n/**\n * Whose it is.\n */\n', 2, 'Whose'],
  ['test/unit/a.test.ts', '  // Where it is.\n', 1, 'Where'],
  ['scripts/a.ts', 'call(); // Who calls.\n', 1, 'Who'],
  ['bench/native/a.c', '/*\n  Of a key.\n*/\n', 1, 'Of'],
])('the comment rule refuses a comment in %s: %j', (file, text, line, word) => {
  expect(violations(file, text)).toEqual([`${file}:${line}: a comment begins with "${word}": name its subject first`]);
});

it.each([
  ['src/a.ts', '/** The part of a key. */\n'],
  ['src/a.ts', '// A comment tells\n// what a reader needs.\n// Who reads it?\n'],
  ['src/a.ts', '/**\n * A rule.\n * Of two lines.\n */\n'],
  ['src/a.ts', "const url = 'https://example.org'; // the place\n"],
  ['src/a.ts', '/** Whatever comes. */\n'],
  ['docs/a.ts', '/** What it does. */\n'],
  ['src/a.md', '// What it does.\n'],
])('the comment rule accepts %s: %j', (file, text) => {
  expect(violations(file, text)).toEqual([]);
});
