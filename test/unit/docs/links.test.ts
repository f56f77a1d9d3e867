import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { deadLinksOf, proseOf } from '../../support/dead-links.ts';

const ROOT = join(import.meta.dirname, '../../..');
const DOCUMENTS = [
  ...readdirSync(ROOT)
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(ROOT, name)),
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(ROOT, 'docs', name)),
];
function npmScripts(): readonly string[] {
  const manifest: unknown = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  if (typeof manifest !== 'object' || manifest === null || !('scripts' in manifest)) throw new Error('no scripts');
  return Object.keys(Object(manifest.scripts));
}

describe.each(DOCUMENTS.map((path) => ({ document: relative(ROOT, path), path })))('$document', ({ path }) => {
  it('the documents have only links whose file and anchor exist', () => {
    expect(deadLinksOf(path)).toEqual([]);
  });

  it('the documents name only npm scripts that package.json has', () => {
    const scripts = npmScripts();
    const named = [...readFileSync(path, 'utf8').matchAll(/npm run ([a-z][\w.:-]*\w)/g)].map(([, name = '']) => name);
    expect(named.filter((name) => !scripts.includes(name))).toEqual([]);
  });

  it('the documents name only files and folders of this repository that exist', () => {
    const pattern =
      /`((?:src|plugin|harness|campaigns|scripts|bench|test|docs|findings|packaging)\/[\w./-]*|[\w-]+\.test\.ts)`/g;
    const tests = new Set(
      readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' }).map((file) => file.split('/').at(-1)),
    );
    const missing = [...proseOf(path).matchAll(pattern)]
      .map(([, name = '']) => name)
      .filter((name) => (name.includes('/') ? !existsSync(join(ROOT, name)) : !tests.has(name)));
    expect(missing).toEqual([]);
  });
});
