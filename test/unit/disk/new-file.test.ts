import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { completeAll, createNewFile } from '../../../src/disk/new-file.ts';
import { expectKeyError } from '../../support/expect-error.ts';

let directory: string;
const random = (): number => 0.5;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'mak-'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

it('a file has its name, for its owner alone, once it is complete', async () => {
  const path = join(directory, 'copy');
  const file = createNewFile(path, random);
  file.write(Buffer.from('world'), 6);
  file.write(Buffer.from('hello '), 0);
  const part = Buffer.alloc(5);
  file.read(part, 6);
  expect(part.toString()).toBe('world');
  expect(readdirSync(directory)).not.toContain('copy');
  await file.complete();
  file.close();
  expect(readdirSync(directory)).toEqual(['copy']);
  expect(readFileSync(path, 'utf8')).toBe('hello world');
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

it('a file that is not completed leaves nothing', () => {
  const file = createNewFile(join(directory, 'copy'), random);
  file.write(Buffer.from('half'), 0);
  file.close();
  expect(readdirSync(directory)).toEqual([]);
});

it.each(['file', 'link to nothing'])('a %s of that name is never replaced', async (kind) => {
  const path = join(directory, 'copy');
  if (kind === 'file') writeFileSync(path, 'older');
  else symlinkSync(join(directory, 'nothing'), path);
  const message = `${path}: it exists, and is not replaced`;
  await expectKeyError(() => createNewFile(path, random), 'STORE_UNAVAILABLE', message);
  expect(readdirSync(directory)).toEqual(['copy']);
});

it('a file made in the meantime is not replaced, and the others are taken back', async () => {
  const files = ['a', 'b'].map((name) => createNewFile(join(directory, name), random));
  writeFileSync(join(directory, 'b'), 'other');
  const message = `${join(directory, 'b')}: it exists, and is not replaced`;
  await expectKeyError(() => completeAll(files), 'STORE_UNAVAILABLE', message);
  for (const file of files) file.close();
  expect(readdirSync(directory)).toEqual(['b']);
  expect(readFileSync(join(directory, 'b'), 'utf8')).toBe('other');
});

it('a directory that is not there is an error with its cause', async () => {
  const path = join(directory, 'none', 'copy');
  await expectKeyError(() => createNewFile(path, random), 'STORE_UNAVAILABLE', `${path}: ENOENT`);
});
