/** Aria tables of real servers: test/vectors/aria. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { decryptAria, verifyAria } from '../../../src/decrypt/aria.ts';
import { moveLongRows } from '../../../src/decrypt/aria-rows.ts';
import type { DataKeys } from '../../../src/decrypt/data-keys.ts';
import type { NewFile } from '../../../src/disk/new-file.ts';
import { AriaCipher, ariaPageType, isWholeAriaPage } from '../../../src/format/aria-cipher.ts';
import { parseAriaLayout } from '../../../src/format/aria-layout.ts';
import { ENCRYPTION_ALGORITHMS } from '../../../src/format/encryption-algorithm.ts';
import { expectKeyError } from '../../support/expect-error.ts';

const VECTORS = join(import.meta.dirname, '../../vectors/aria');
const BLOCK = 8192;
const NEVER = new AbortController().signal;
/** The pages of the .MAD file. */
const [HEAD, BLOB, TAIL] = [1, 2, 3];
const OPEN_COUNT = 24;

interface Table {
  readonly index: Buffer;
  readonly data: Buffer;
}

function vector(name: string): Table {
  const file = (ending: string): Buffer => gunzipSync(readFileSync(join(VECTORS, `${name}.${ending}.gz`)));
  return { index: file('MAI'), data: file('MAD') };
}

function keysOf(value: number): Pick<DataKeys, 'candidates' | 'place'> {
  const bytes = Buffer.alloc(16, value);
  return {
    place: 'keys.txt',
    candidates: async (id, version) =>
      id === 1 && version === 1 ? ENCRYPTION_ALGORITHMS.map((algorithm) => ({ bytes, algorithm })) : [],
  };
}

function source(bytes: Buffer) {
  return { bytes: bytes.length, readInto: (into: Buffer, offset: number) => bytes.copy(into, 0, offset) };
}

/** A file in memory. */
function memoryFile(): Pick<NewFile, 'read' | 'write'> & { bytes: Buffer } {
  const file = {
    bytes: Buffer.alloc(0),
    write: (bytes: Uint8Array, offset: number) => {
      const length = Math.max(file.bytes.length, offset + bytes.length);
      file.bytes = Buffer.concat([file.bytes], length);
      file.bytes.set(bytes, offset);
    },
    read: (into: Uint8Array, offset: number) => into.set(file.bytes.subarray(offset, offset + into.length)),
  };
  return file;
}

async function decrypt({ index, data }: Table, keys = keysOf(1)) {
  const copy = { index: memoryFile(), data: memoryFile() };
  const files = { index: source(index), data: source(data) };
  const result = await decryptAria('a.MAI', files, copy, keys, NEVER);
  return { result, index: copy.index.bytes, data: copy.data.bytes };
}

function pagesOf(bytes: Buffer): Buffer[] {
  return Array.from({ length: bytes.length / BLOCK }, (_, page) => bytes.subarray(page * BLOCK, (page + 1) * BLOCK));
}

function flip(bytes: Buffer, at: number): void {
  bytes[at] = (bytes[at] ?? 0) ^ 1;
}

it.each(['cbc', 'ctr'])('the pages of %s get the form of a table in clear', async (name) => {
  const { result, index, data } = await decrypt(vector(name));
  const algorithm = name === 'ctr' ? 'AES_CTR' : 'AES_CBC';
  expect(result).toEqual({ pages: 4, versions: [1], algorithm, wasOpen: false, damagedPages: 0, damaged: [] });
  const layout = parseAriaLayout(index);
  expect(layout).toMatchObject({ crypt: undefined, isTransactional: name === 'cbc' });
  const pages = pagesOf(data);
  for (const [number, page] of pages.entries()) expect(isWholeAriaPage(page, number), `page ${number}`).toBe(true);
  expect(pages.map(ariaPageType).slice(1, 4)).toEqual([1, 3, 2]);
  // The blob goes on from the end of one page to the beginning of the next.
  const blob = pages[BLOB]?.subarray(8, BLOCK - 4) ?? Buffer.alloc(0);
  expect(blob.every((byte) => byte === 98)).toBe(true);
  const tail = pages[TAIL]?.toString('latin1') ?? '';
  expect(/b+/.exec(tail)?.[0]).toHaveLength(9000 - blob.length);
  expect(pages[HEAD]?.includes('short')).toBe(true);
});

it.each(['cbc', 'ctr'])('%s decrypted once more is the same: it is in clear', async (name) => {
  const copy = await decrypt(vector(name));
  const again = await decrypt(copy);
  expect({ index: again.index, data: again.data }).toEqual({ index: copy.index, data: copy.data });
  expect(again.result).toMatchObject({ pages: 0, versions: [] });
});

it.each([HEAD, BLOB, TAIL])('a damaged page %i is named', async (page) => {
  const table = vector('cbc');
  flip(table.data, page * BLOCK + 100);
  const text = `page ${page} of the .MAD file: it does not decrypt with version 1: its checksum is wrong`;
  await expectKeyError(decrypt(table), 'DATA_UNREADABLE', `a.MAI: ${text}`);
  const files = { index: source(table.index), data: source(table.data) };
  expect((await verifyAria('a.MAI', files, keysOf(1), NEVER)).damaged).toEqual([{ file: 'MAD', page, text }]);
});

it('an index page whose length is wrong is named', async () => {
  const table = vector('ctr');
  const page = table.index.length / BLOCK - 1;
  table.index.writeUInt16BE(BLOCK, page * BLOCK + 13);
  const text = `page ${page} of the .MAI file: it does not decrypt with version 1: its checksum is wrong`;
  await expectKeyError(decrypt(table), 'DATA_UNREADABLE', `a.MAI: ${text}`);
});

it('another key does not decrypt any page', async () => {
  const { index, data } = vector('cbc');
  const files = { index: source(index), data: source(data) };
  expect((await verifyAria('a.MAI', files, keysOf(2), NEVER)).damaged).toHaveLength(4);
});

it('a version that the source of keys does not have is named', async () => {
  const none = { ...keysOf(1), candidates: async () => [] };
  await expectKeyError(decrypt(vector('cbc'), none), 'KEY_UNKNOWN', 'a.MAI: key 1 version 1: keys.txt has no such key');
});

it('a row that says more than there is is named', async () => {
  const copy = await decrypt(vector('cbc'));
  const table = vector('cbc');
  // Without its columns, the table's rows cannot be followed.
  const layout = parseAriaLayout(table.index);
  const columns = (layout?.headerBytes ?? 0) - 22 - 3 * 22;
  table.index.writeUInt16BE(60_000, columns + 2 * 20 + 6);
  await expectKeyError(decrypt(table), 'DATA_UNREADABLE', /^a\.MAI: page 1: row 1 does not fit its table: /);
  expect(copy.data.length).toBe(table.data.length);
});

it.each([
  ['MAD', 'cut between two pages', 2 * BLOCK, 'it has 16384 of 32768 bytes'],
  ['MAD', 'cut within a page', 3 * BLOCK + 100, 'it has 24676 of 32768 bytes'],
  ['MAD', 'empty', 0, 'it has 0 of 32768 bytes'],
  ['MAI', 'cut between two pages', BLOCK, 'it has 8192 of 16384 bytes'],
] as const)('a .%s file that is %s is no whole table, encrypted or not', async (file, _, bytes, text) => {
  const whole = vector('cbc');
  for (const table of [whole, await decrypt(whole)]) {
    const cut =
      file === 'MAD'
        ? { ...table, data: table.data.subarray(0, bytes) }
        : { ...table, index: table.index.subarray(0, bytes) };
    const found = `the .${file} file was cut: ${text}`;
    await expectKeyError(decrypt(cut), 'DATA_UNREADABLE', `a.MAI: ${found}`);
    const files = { index: source(cut.index), data: source(cut.data) };
    const { cut: seen } = await verifyAria('a.MAI', files, keysOf(1), NEVER);
    expect(seen).toEqual([found]);
  }
});

it('a table that was open may lack pages, but no part of one', async () => {
  const table = vector('cbc');
  table.index.writeUInt16BE(1, OPEN_COUNT);
  const files = { index: source(table.index), data: source(table.data.subarray(0, 3 * BLOCK)) };
  expect((await verifyAria('a.MAI', files, keysOf(1), NEVER)).cut).toEqual([]);
  const data = Buffer.concat([table.data, Buffer.alloc(5)]);
  const text = 'a.MAI: the .MAD file was cut: its last 5 bytes are no whole page';
  await expectKeyError(decrypt({ ...table, data }), 'DATA_UNREADABLE', text);
});

it('a page that two rows name is damage', async () => {
  const { index, data } = vector('cbc');
  const layout = parseAriaLayout(index);
  if (layout?.crypt === undefined) throw new Error('the vector is not encrypted');
  const cipher = new AriaCipher(layout, layout.crypt, { bytes: Buffer.alloc(16, 1), algorithm: 'AES_CBC' });
  const pages = pagesOf(data);
  for (const page of [HEAD, BLOB, TAIL]) cipher.decryptData(pages[page] ?? Buffer.alloc(0), page);
  const claimed = new Set<number>();
  const file = {
    read: (page: number) => Buffer.from(pages[page] ?? ''),
    write: () => undefined,
    claim: (page: number) => claimed.size < claimed.add(page).size,
  };
  expect(moveLongRows('a.MAI', layout, file.read(HEAD), HEAD, file)).toEqual([BLOB]);
  await expectKeyError(
    (async () => moveLongRows('a.MAI', layout, file.read(HEAD), HEAD, file))(),
    'DATA_UNREADABLE',
    'a.MAI: page 1: row 1 does not fit its table: page 2 is named twice',
  );
});

it('a table that was open is decrypted, and this is said', async () => {
  const table = vector('cbc');
  table.index.writeUInt16BE(1, OPEN_COUNT);
  const { result, data } = await decrypt(table);
  expect(result.wasOpen).toBe(true);
  expect(data).toEqual((await decrypt(vector('cbc'))).data);
});

it.each([
  ['an empty file', Buffer.alloc(0)],
  ['a header that is cut', vector('cbc').index.subarray(0, 200)],
  ['another file', Buffer.alloc(BLOCK, 'x')],
])('%s is no Aria table', async (_, index) => {
  await expectKeyError(decrypt({ index, data: Buffer.alloc(0) }), 'DATA_UNREADABLE', 'a.MAI: it is no Aria table');
});
