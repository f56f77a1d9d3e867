import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ScratchServer } from '../../../harness/scratch-server.ts';
import { cleanUp } from '../../support/scratch.ts';

const BLOCK = 65_536;
const BLOCKS = 16;
const KILLS = 8;

/** A "server" of which one thread fills every block with one byte, again and again with another. */
const WRITER = `
import { openSync, writeFileSync, writeSync } from 'node:fs';
import { isMainThread, Worker } from 'node:worker_threads';
const log = process.argv.find((argument) => argument.startsWith('--log-error=')).slice('--log-error='.length);
if (isMainThread) new Worker(import.meta.filename, { argv: process.argv.slice(2) });
else {
  const file = openSync(log + '.blocks', 'w');
  for (let byte = 1; ; byte = (byte % 255) + 1) {
    const block = Buffer.alloc(${BLOCK}, byte);
    for (let i = 0; i < ${BLOCKS}; i += 1) writeSync(file, block, 0, ${BLOCK}, i * ${BLOCK});
    if (byte === 2) writeFileSync(log, 'ready for connections');
  }
}
`;

it('a kill cuts no write short, on tmpfs either', async () => {
  const directory = mkdtempSync('/dev/shm/mak-');
  cleanUp(() => rmSync(directory, { recursive: true, force: true }));
  const script = join(directory, 'writer.mjs');
  writeFileSync(script, WRITER);
  const torn: number[] = [];
  for (let kill = 0; kill < KILLS; kill += 1) {
    const server = new ScratchServer({
      directory: join(directory, String(kill)),
      launcher: [process.execPath, script],
    });
    cleanUp(() => server.kill());
    await server.start();
    await server.kill();
    torn.push(...tornBlocks(`${server.logFile}.blocks`));
  }
  expect(torn).toEqual([]);
});

function tornBlocks(path: string): number[] {
  const file = openSync(path, 'r');
  const block = Buffer.alloc(BLOCK);
  const torn: number[] = [];
  for (let i = 0; i < BLOCKS; i += 1) {
    readSync(file, block, 0, BLOCK, i * BLOCK);
    if (!block.equals(Buffer.alloc(BLOCK, block[0]))) torn.push(i);
  }
  closeSync(file);
  return torn;
}
