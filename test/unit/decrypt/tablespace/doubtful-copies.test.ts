import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { describeEnd, isRight, tablespaceJson } from '../../../../src/decrypt/tablespace/describe.ts';
import { openSpace } from '../../../../src/decrypt/tablespace/open-space.ts';
import { OutputError, Pages } from '../../../../src/decrypt/tablespace/pages.ts';
import { unprovenPages } from '../../../../src/decrypt/tablespace/result.ts';
import { decryptTablespace, type TablespaceParts } from '../../../../src/decrypt/tablespace/tablespace.ts';
import { callingThread, startPageThreads } from '../../../../src/decrypt/tablespace/threads.ts';
import { ENCRYPTION_ALGORITHMS, type EncryptionAlgorithm } from '../../../../src/format/encryption-algorithm.ts';
import type { DataKey } from '../../../../src/format/encryption-scheme.ts';
import { clearPage, encryptedPage, firstPage, layoutOf, type SpaceKind } from '../../../support/encrypted-space.ts';
import { expectKeyError } from '../../../support/expect-error.ts';
import { cleanUp, scratchDirectory } from '../../../support/scratch.ts';

const PAGE = 16_384;

let directory: string;
let input: string;
let output: string;

beforeEach(() => {
  directory = scratchDirectory();
  input = join(directory, 't.ibd');
  output = join(directory, 'out.ibd');
});

function key(fill: number, algorithm: EncryptionAlgorithm = 'AES_CBC'): DataKey {
  return { bytes: Buffer.alloc(16, fill), algorithm };
}

function partsWith(keys: readonly DataKey[], more: Partial<TablespaceParts> = {}): TablespaceParts {
  return {
    keys: { place: 'the test', candidates: async () => keys, wipe: () => undefined },
    threads: callingThread(),
    random: () => 0.5,
    signal: new AbortController().signal,
    progress: () => undefined,
    ...more,
  };
}

const BOTH = ENCRYPTION_ALGORITHMS.map((algorithm) => key(1, algorithm));

function pagesOf(kind: SpaceKind, count: number, of: DataKey): readonly Buffer[] {
  return Array.from({ length: count }, (_, index) => encryptedPage(kind, index + 1, 1, of));
}

describe('a tablespace whose compression is not read', () => {
  it('leaves no copy if nothing tells CBC from CTR', async () => {
    writeFileSync(input, Buffer.concat([firstPage('lz4'), ...pagesOf('lz4', 3, key(1, 'AES_CTR'))]));
    await expectKeyError(
      () => decryptTablespace(input, output, partsWith(BOTH)),
      'DATA_UNREADABLE',
      `${input}: none of its 3 encrypted pages opens: nothing shows whether they are AES_CBC or AES_CTR`,
    );
    expect(readdirSync(directory)).toEqual(['t.ibd']);
  });

  it('is unproven with one algorithm, and proved by one page that is not compressed', async () => {
    const pages = [firstPage('lz4'), ...pagesOf('lz4', 3, key(1))];
    writeFileSync(input, Buffer.concat(pages));
    const doubtful = await decryptTablespace(input, output, partsWith([key(1)]));
    expect({ failed: doubtful.failed, unproven: unprovenPages(doubtful) }).toEqual({ failed: 0, unproven: 3 });
    expect(tablespaceJson(doubtful)).toMatchObject({ unproven: 3 });
    writeFileSync(input, Buffer.concat([...pages, encryptedPage('full_crc32', 4, 1, key(1))]));
    const proved = await decryptTablespace(input, join(directory, 'proved.ibd'), partsWith(BOTH));
    expect({ failed: proved.failed, unproven: unprovenPages(proved) }).toEqual({ failed: 0, unproven: 0 });
    expect([...proved.versions.values()].map(({ algorithm }) => algorithm)).toEqual(['AES_CBC']);
  });
});

describe('a tablespace that was cut', () => {
  it.each([
    [5 * PAGE, 'it ends before page 5 of 8: it was cut'],
    [5 * PAGE + 100, 'it ends before page 5 of 8, with 100 bytes that are no whole page: it was cut'],
    [8 * PAGE + 100, 'its last 100 bytes are no whole page: it was cut'],
  ])('to %i bytes is not right', async (bytes, text) => {
    const whole = Buffer.concat([firstPage('full_crc32', [], 8), ...pagesOf('full_crc32', 8, key(1))]);
    writeFileSync(input, whole.subarray(0, bytes));
    const result = await decryptTablespace(input, output, partsWith(BOTH));
    expect(describeEnd(result)).toBe(text);
    expect(isRight(result)).toBe(false);
    expect(readFileSync(output)).toHaveLength(bytes - (bytes % PAGE));
  });

  it('is right when the server had extended it before it counted the pages', async () => {
    writeFileSync(input, Buffer.concat([firstPage('full_crc32', [], 4), ...pagesOf('full_crc32', 8, key(1))]));
    const result = await decryptTablespace(input, output, partsWith(BOTH));
    expect({ end: describeEnd(result), isRight: isRight(result) }).toEqual({ end: undefined, isRight: true });
  });
});

describe('a damaged page of a tablespace in clear', () => {
  it.each([0, 1_000])('is named, whatever its byte %i says, and the others are copied', async (byte) => {
    const pages = [firstPage('full_crc32'), ...[1, 2, 3].map((number) => clearPage('full_crc32', number))];
    const bytes = Buffer.concat(pages);
    bytes.writeUInt32BE(0xdeadbeef, 2 * PAGE + byte);
    writeFileSync(input, bytes);
    const result = await decryptTablespace(input, output, partsWith(BOTH));
    expect(result).toMatchObject({ clear: 3, failed: 1, failures: [{ page: 2, reason: 'checksum' }], keyProblems: [] });
    expect([...result.versions.keys()]).toEqual([]);
    expect(readFileSync(output)).toHaveLength(bytes.length);
  });
});

describe('with the keys of another server', () => {
  it('the work ends before the file does', async () => {
    writeFileSync(input, Buffer.concat([firstPage('full_crc32'), ...pagesOf('full_crc32', 2_500, key(9))]));
    let bytesRead = 0;
    const progress = (bytes: number): void => {
      bytesRead += bytes;
    };
    await expectKeyError(
      () => decryptTablespace(input, output, partsWith([key(1)], { progress })),
      'DATA_UNREADABLE',
      /none of its \d+ encrypted pages opens with key 5 of the test: wrong key/,
    );
    expect(bytesRead).toBeLessThan(2_000 * PAGE);
    expect(readdirSync(directory)).toEqual(['t.ibd']);
  });

  it('no whole page is read again', async () => {
    writeFileSync(input, Buffer.concat([firstPage('full_crc32'), ...pagesOf('full_crc32', 3, key(9))]));
    const { space, close } = openSpace(input);
    cleanUp(close);
    const pauses: number[] = [];
    const pages = new Pages(
      space,
      async () => [key(1)],
      (ms) => void pauses.push(ms),
    );
    expect(await pages.range(0, 4)).toMatchObject({ failed: 3, wrongKey: 3 });
    expect(pauses).toEqual([]);
  });
});

it('a signal ends the work of the calling thread, also in the last range', async () => {
  writeFileSync(input, Buffer.concat([firstPage('full_crc32'), ...pagesOf('full_crc32', 3, key(1))]));
  const stop = new AbortController();
  const copy = decryptTablespace(input, output, partsWith(BOTH, { signal: stop.signal }));
  setImmediate(() => stop.abort(new Error('stop')));
  await expect(copy).rejects.toThrow('stop');
  expect(readdirSync(directory)).toEqual(['t.ibd']);
});

it.each(['the calling thread', 'another thread'])('%s tells an error of writing from one of reading', async (where) => {
  writeFileSync(input, Buffer.concat([firstPage('full_crc32'), ...pagesOf('full_crc32', 3, key(1))]));
  const { space, close } = openSpace(input);
  const unwritable = openSync(input, 'r');
  const threads = where === 'another thread' ? startPageThreads(1) : callingThread();
  cleanUp(async () => {
    await threads.close();
    closeSync(unwritable);
    close();
  });
  await expect(threads.read(0, { ...space, output: unwritable }, async () => BOTH, 0, 4)).rejects.toThrow(
    new OutputError('EBADF'),
  );
  expect(layoutOf('full_crc32').fileBytes).toBe(PAGE);
});
