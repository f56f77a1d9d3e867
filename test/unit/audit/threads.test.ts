import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import { type Audit, type AuditMeans, auditData } from '../../../src/audit/audit.ts';
import { startFileThreads, type ThreadUse } from '../../../src/audit/threads.ts';
import { type DataFiles, nodeDataFiles } from '../../../src/data/data-files.ts';
import { dataLocations } from '../../../src/server/data-locations.ts';
import { systemClock } from '../../../src/system-clock.ts';
import { type MadePage, madeTablespace } from '../../support/made-tablespaces.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const FILES = 320;

/** A data directory with files in clear and encrypted, and some that are damaged, cut off, linked to nothing or of no format. */
function dataDirectory(): string {
  const root = scratchDirectory();
  const put = (name: string, content: Uint8Array): void => writeFileSync(join(root, name), content);
  mkdirSync(join(root, 'd'));
  put('ibdata1', madeTablespace({ id: 0, scheme: undefined }, ['empty', {}]));
  for (let number = 0; number < FILES; number += 1) {
    const page: MadePage = number % 3 === 0 ? {} : { version: 1 + (number % 7), isFree: number % 5 === 0 };
    const isDamaged = number % 160 === 39;
    const space = madeTablespace({ id: number + 5 }, [page, { ...page, isDamaged }, 'empty']);
    const name = `d/t${String(number).padStart(3, '0')}.ibd`;
    if (number % 50 === 20) symlinkSync('nothing', join(root, name));
    else if (number % 50 === 30) put(name, Buffer.alloc(100, 1));
    else put(name, number % 50 === 40 ? space.subarray(0, space.length - 1000) : space);
  }
  return root;
}

async function audit(datadir: string, more: Partial<AuditMeans> = {}): Promise<Audit> {
  const locations = dataLocations(datadir, () => undefined);
  const { signal } = new AbortController();
  const means = { disk: nodeDataFiles, clock: systemClock, signal, checksums: true, ...more };
  return await auditData([{ locations, isCopy: true, isUnprepared: false, more: [] }], means);
}

/** Threads for all files after the first few. */
function threadUse(count: number, start?: () => Worker): ThreadUse {
  return { afterBytes: 200_000, largeBytes: 0, start: () => startFileThreads(count, start) };
}

it('threads find the same as one thread, in the same order', async () => {
  const datadir = dataDirectory();
  const alone = await audit(datadir);
  expect(alone.files.length).toBeGreaterThan(300);
  expect(alone.unseen.length).toBeGreaterThan(20);
  let examined = 0;
  const start = (): Worker =>
    new Worker(new URL('../../../src/audit/thread.ts', import.meta.url)).on('message', ({ kind }) => {
      if (kind === 'done') examined += 1;
    });
  const amounts: number[] = [];
  const together = await audit(datadir, {
    threads: threadUse(2, start),
    progress: (_files, bytes) => amounts.push(bytes),
  });
  expect(together).toEqual(alone);
  expect(examined).toBeGreaterThan(3);
  expect(examined).toBeLessThan(FILES);
  expect(amounts.at(-1)).toBe(alone.files.reduce((sum, { bytes }) => sum + bytes, 0));
});

it('tells in a large file how much was read, in a thread as in the calling one', async () => {
  const datadir = dataDirectory();
  const large = join(datadir, 'd/large.ibd');
  writeFileSync(large, madeTablespace({ id: 4 }, [{}]));
  truncateSync(large, 40 * 2 ** 20);
  for (const threads of [undefined, threadUse(0), threadUse(1)]) {
    const amounts: number[] = [];
    const progress: AuditMeans['progress'] = (_files, bytes) => amounts.push(bytes);
    const { files } = await audit(datadir, { progress, ...(threads && { threads }) });
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    expect(amounts.at(-1)).toBe(bytes);
    // The file is told in parts, which are taken back when the whole of it is.
    expect(Math.max(...amounts)).toBe(bytes);
    expect(amounts.filter((amount, at) => amount - (amounts[at - 1] ?? 0) > 15e6).length).toBeGreaterThan(1);
  }
});

it('files whose threads end, or cannot be started, are read all the same', async () => {
  const datadir = dataDirectory();
  const alone = await audit(datadir);
  const failing = (): Worker => new Worker('process.exit(1)', { eval: true });
  expect(await audit(datadir, { threads: threadUse(2, failing) })).toEqual(alone);
  const none = (): Worker => {
    throw new Error('no thread');
  };
  expect(await audit(datadir, { threads: threadUse(2, none) })).toEqual(alone);
});

it('a thread that hangs is ended with the audit, whose files are closed', async () => {
  const open = new Set<number>();
  const disk: DataFiles = {
    ...nodeDataFiles,
    open: (path, link) => {
      const file = nodeDataFiles.open(path, link);
      if (file?.descriptor === undefined) return file;
      const { descriptor, close } = file;
      open.add(descriptor);
      return {
        ...file,
        close: () => {
          open.delete(descriptor);
          close();
        },
      };
    },
  };
  const interrupted = new AbortController();
  const reason = new Error('interrupted');
  const hanging = (): Worker =>
    new Worker("require('node:worker_threads').parentPort.on('message', () => { for (;;); })", { eval: true });
  const ended = Promise.withResolvers<number>();
  setTimeout(() => interrupted.abort(reason), 300);
  const threads = threadUse(1, () => hanging().on('exit', ended.resolve));
  await expect(audit(dataDirectory(), { disk, signal: interrupted.signal, threads })).rejects.toBe(reason);
  await ended.promise;
  expect(open.size).toBe(0);
});
