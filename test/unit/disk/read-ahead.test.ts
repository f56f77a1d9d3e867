import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type ReadAhead, startReadAhead } from '../../../src/disk/read-ahead.ts';
import { cleanUp, scratchDirectory, until } from '../../support/scratch.ts';

const MAX_BYTES = 100;

/** Files of different lengths, none empty. */
function writeFiles(directory: string, count: number): string[] {
  const files = Array.from({ length: count }, (_, index) => `file-${index}`);
  for (const [index, file] of files.entries()) writeFileSync(join(directory, file), contentOf(file, index));
  return files;
}

function contentOf(file: string, index: number): string {
  return file.padEnd(index % (MAX_BYTES + 1), '.');
}

function start(
  directory: string,
  entries: readonly string[],
  { window = Number.MAX_SAFE_INTEGER, endings = [''] } = {},
): ReadAhead {
  const ahead = startReadAhead({ directory, entries, endings, maxBytes: MAX_BYTES, window });
  cleanUp(() => ahead.close());
  return ahead;
}

async function take(ahead: ReadAhead, file: string): Promise<Buffer | undefined> {
  return (await ahead.take(file))?.[0];
}

/** Starts, and returns when all files have been read, which the presence of a later file shows. */
async function startAndWait(directory: string, files: readonly string[], endings = ['']): Promise<ReadAhead> {
  const followers = Array.from({ length: 400 }, (_, index) => `follower-${index}`);
  for (const file of followers) writeFileSync(join(directory, file), 'x');
  const ahead = start(directory, [...files, ...followers], { endings });
  await until('the files have been read', () => ahead.take(followers.shift() ?? '') !== undefined);
  return ahead;
}

it('reading ahead returns each file whole, and once', async () => {
  const directory = scratchDirectory();
  const files = writeFiles(directory, 1000);
  const ahead = await startAndWait(directory, files);
  for (const [index, file] of files.entries())
    expect((await take(ahead, file))?.toString()).toBe(contentOf(file, index));
  expect(ahead.take('file-0')).toBeUndefined();
});

it('reading ahead leaves files of an unexpected length to the caller, and continues', async () => {
  const directory = scratchDirectory();
  const files = writeFiles(directory, 200);
  const make: Record<string, (path: string) => void> = {
    'file-0': () => undefined,
    'file-10': (path) => mkdirSync(path),
    'file-20': (path) => execFileSync('mkfifo', [path]),
    'file-30': (path) => symlinkSync('/nowhere', path),
    'file-40': (path) => symlinkSync('/dev/zero', path),
    'file-50': (path) => writeFileSync(path, 'x'.repeat(MAX_BYTES + 1)),
  };
  for (const [file, makeOther] of Object.entries(make)) {
    rmSync(join(directory, file));
    makeOther(join(directory, file));
  }
  writeFileSync(join(directory, 'file-60'), '');
  writeFileSync(join(directory, 'file-70'), 'x'.repeat(MAX_BYTES));
  const ahead = await startAndWait(directory, files);
  for (const file of Object.keys(make)) expect(await take(ahead, file), file).toBeUndefined();
  expect((await take(ahead, 'file-60'))?.length).toBe(0);
  expect((await take(ahead, 'file-70'))?.length).toBe(MAX_BYTES);
  expect((await take(ahead, 'file-71'))?.toString()).toBe(contentOf('file-71', 71));
});

it('reading ahead stops at its window, and continues as files are taken', async () => {
  const directory = scratchDirectory();
  const files = writeFiles(directory, 1024);
  const ahead = start(directory, files, { window: 512 });
  const first = files.slice(0, 128);
  await until('the first files have been read', () => ahead.take(first.shift() ?? '') !== undefined);
  // More time than reading all of them takes.
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(ahead.take('file-1000')).toBeUndefined();
  const found: boolean[] = [];
  for (const [index, file] of files.slice(128, 1000).entries()) {
    if (index % 64 === 0) await new Promise((resolve) => setTimeout(resolve, 50));
    found.push(ahead.take(file) !== undefined);
  }
  expect(found).toEqual(found.map(() => true));
});

it('reading ahead returns both files of an entry, and leaves an absent one to the caller', async () => {
  const directory = scratchDirectory();
  const files = writeFiles(directory, 600);
  writeFileSync(join(directory, 'file-599.json'), 'beside');
  const ahead = await startAndWait(directory, files, ['', '.json']);
  expect((await ahead.take('file-598'))?.map((bytes) => bytes?.toString())).toEqual([
    contentOf('file-598', 598),
    undefined,
  ]);
  expect((await ahead.take('file-599'))?.map((bytes) => bytes?.toString())).toEqual([
    contentOf('file-599', 599),
    'beside',
  ]);
});

it('reading ahead lets the caller wait for files that the thread is reading', async () => {
  const directory = scratchDirectory();
  const files = writeFiles(directory, 600);
  const ahead = start(directory, files);
  // Its message waits for this thread, which does not look at messages meanwhile.
  const wait = new Int32Array(new SharedArrayBuffer(4));
  let taken: ReturnType<ReadAhead['take']>;
  for (let tries = files.length; tries > 0 && !(taken instanceof Promise); tries -= 1) {
    Atomics.wait(wait, 0, 0, 100);
    taken = ahead.take(`file-${tries - 1}`);
    if (taken instanceof Promise)
      expect((await taken)?.[0]?.toString()).toBe(contentOf(`file-${tries - 1}`, tries - 1));
  }
  expect(taken).toBeInstanceOf(Promise);
});

it('reading ahead returns nothing after it was closed', async () => {
  const directory = scratchDirectory();
  const files = writeFiles(directory, 128);
  const ahead = await startAndWait(directory, files);
  ahead.close();
  expect(ahead.take('file-1')).toBeUndefined();
});
