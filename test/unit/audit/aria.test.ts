import { expect, it } from 'vitest';
import { scanAria } from '../../../src/audit/aria.ts';

const BLOCK = 1024;
const FREE_KEY = 255;

/** Index pages of an encrypted table that is not transactional, after the header's. */
function indexOf(pages: readonly { readonly version: number; readonly key: number }[]): Buffer {
  const file = Buffer.alloc(BLOCK * (1 + pages.length));
  file.set([0xfe, 0xfe, 0x09, 0x03]);
  file.writeUInt16BE(BLOCK, 6);
  const base = 256;
  file.writeUInt16BE(base, 12);
  file.writeUInt16BE(1, base + 90);
  file.writeUInt16BE(BLOCK, base + 100);
  pages.forEach(({ version, key }, index) => {
    const at = BLOCK * (1 + index);
    file.writeUInt32LE(version, at + 7);
    file[at + 11] = key;
  });
  return file;
}

function opened(content: Buffer): Parameters<typeof scanAria>[0] {
  return { bytes: content.length, readInto: (into, at) => content.copy(into, 0, at) };
}

it('counts free index pages as in use, which Aria reads to find the next free one', async () => {
  const index = indexOf([
    { version: 3, key: 0 },
    { version: 2, key: FREE_KEY },
  ]);
  const scan = await scanAria(opened(index), opened(Buffer.alloc(0)), {
    signal: new AbortController().signal,
    advance: () => undefined,
    chunk: Buffer.alloc(64 * BLOCK),
  });
  expect([...(scan?.versions ?? [])]).toEqual([
    [3, { used: 1, free: 0 }],
    [2, { used: 1, free: 0 }],
  ]);
});
