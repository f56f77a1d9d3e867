import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { DataKeys } from '../../../../src/decrypt/data-keys.ts';
import { describePageFailure, describePages } from '../../../../src/decrypt/tablespace/describe.ts';
import {
  decryptPage,
  decryptTablespace,
  type TablespaceParts,
  verifyTablespace,
} from '../../../../src/decrypt/tablespace/tablespace.ts';
import { callingThread, startPageThreads } from '../../../../src/decrypt/tablespace/threads.ts';
import type { EncryptionAlgorithm } from '../../../../src/format/encryption-algorithm.ts';
import type { DataKey } from '../../../../src/format/encryption-scheme.ts';
import { cryptBlockAt } from '../../../../src/format/innodb/layout.ts';
import { pageDamage } from '../../../../src/format/innodb/page-checksum.ts';
import {
  clearPage,
  encryptedPage,
  FLAGS,
  firstPage,
  KEY_ID,
  layoutOf,
  SPACE_ID,
  type SpaceKind,
} from '../../../support/encrypted-space.ts';
import { expectKeyError } from '../../../support/expect-error.ts';
import { cleanUp, scratchDirectory } from '../../../support/scratch.ts';

/** Kinds whose pages show that their key is right. */
const KINDS = Object.keys(FLAGS).filter((kind): kind is SpaceKind => kind in FLAGS && kind !== 'lz4');

let directory: string;
let input: string;
let output: string;

beforeEach(() => {
  directory = scratchDirectory();
  input = join(directory, 't.ibd');
  output = join(directory, 'out.ibd');
});

function key(version: number, algorithm: EncryptionAlgorithm = 'AES_CBC'): DataKey {
  return { bytes: Buffer.alloc(16, version), algorithm };
}

/** Keys with one algorithm, or both where that is to be found out. */
function keysOf(
  versions: readonly number[],
  algorithms: readonly EncryptionAlgorithm[] = ['AES_CBC'],
): TablespaceParts & { keys: DataKeys } {
  const keys: DataKeys = {
    place: 'the test',
    candidates: async (id, version) =>
      id === KEY_ID && versions.includes(version) ? algorithms.map((algorithm) => key(version, algorithm)) : [],
    wipe: () => undefined,
  };
  return {
    keys,
    threads: callingThread(),
    random: () => 0.5,
    signal: new AbortController().signal,
    progress: () => undefined,
  };
}

/** Pages of versions 1 and 2 by turns, one in clear, and one that was never written. */
function write(
  kind: SpaceKind,
  pages = 8,
  algorithm: EncryptionAlgorithm = 'AES_CBC',
  free: readonly number[] = [],
): void {
  const all = [firstPage(kind, free)];
  for (let number = 1; number < pages - 2; number += 1)
    all.push(encryptedPage(kind, number, 1 + (number % 2), key(1 + (number % 2), algorithm)));
  all.push(clearPage(kind, pages - 2), Buffer.alloc(layoutOf(kind).fileBytes));
  writeFileSync(input, Buffer.concat(all));
}

/** Changes a byte of a page of the input. */
function spoil(kind: SpaceKind, page: number): void {
  const bytes = readFileSync(input);
  const at = page * layoutOf(kind).fileBytes + 1_000;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(input, bytes);
}

describe.each(KINDS)('a tablespace of the kind %s', (kind) => {
  it.each(['AES_CBC', 'AES_CTR'] as const)(
    'with %s is in clear in the copy, whose pages are right',
    async (algorithm) => {
      write(kind, 8, algorithm);
      const parts = keysOf([1, 2], ['AES_CBC', 'AES_CTR']);
      const result = await decryptTablespace(input, output, parts);
      expect({ failed: result.failed, clear: result.clear, empty: result.empty, pages: result.pages }).toEqual({
        failed: 0,
        clear: 2,
        empty: 1,
        pages: 8,
      });
      expect(describePages(result)).toContain(`version 2: 3, ${algorithm}`);
      const layout = layoutOf(kind);
      const copy = readFileSync(output);
      for (let number = 0; number < 8; number += 1) {
        const page = copy.subarray(number * layout.fileBytes, (number + 1) * layout.fileBytes);
        expect(pageDamage(layout, false, number, page), `page ${number}`).toBeUndefined();
        if (layout.isPageCompressed || number === 0 || number === 7) continue;
        expect(page.equals(clearPage(kind, number)), `page ${number}`).toBe(true);
      }
      expect(copy.subarray(cryptBlockAt(layout), cryptBlockAt(layout) + 33)).toEqual(Buffer.alloc(33));
      expect(statSync(output).mode & 0o777).toBe(0o600);
      expect(readdirSync(directory).sort()).toEqual(['out.ibd', 't.ibd']);
    },
  );

  it('with another key leaves no copy', async () => {
    writeFileSync(input, Buffer.concat([firstPage(kind), encryptedPage(kind, 1, 1, key(9))]));
    await expectKeyError(
      () => decryptTablespace(input, output, keysOf([1])),
      'DATA_UNREADABLE',
      `${input}: none of its 1 encrypted pages opens with key ${KEY_ID} of the test: wrong key`,
    );
    expect(readdirSync(directory)).toEqual(['t.ibd']);
  });
});

it('a damaged page is named and stays as it was', async () => {
  write('full_crc32');
  spoil('full_crc32', 3);
  const result = await decryptTablespace(input, output, keysOf([1, 2]));
  expect(result.failures.map(describePageFailure)).toEqual([
    'page 3 (key version 2, LSN 4886718348, type 17855, index): its checksum is wrong',
  ]);
  const page = (bytes: Buffer): Buffer => bytes.subarray(3 * 16_384, 4 * 16_384);
  expect(page(readFileSync(output)).equals(page(readFileSync(input)))).toBe(true);
});

it('a free page without a key is blank in the copy, and one in use is a failure', async () => {
  write('full_crc32', 8, 'AES_CBC', [2, 4]);
  const result = await decryptTablespace(input, output, keysOf([2]));
  expect({ failed: result.failed, failedFree: result.failedFree }).toEqual({ failed: 0, failedFree: 2 });
  expect(readFileSync(output).subarray(2 * 16_384, 3 * 16_384)).toEqual(Buffer.alloc(16_384));
  const other = await verifyTablespace(input, keysOf([1]));
  expect(other.failed).toBe(3);
  expect(other.keyProblems.map(({ message }) => message)).toEqual([`key ${KEY_ID} version 2 is not in the test`]);
});

it('threads find the same as one thread', async () => {
  const count = 1_200;
  write('full_crc32', count);
  spoil('full_crc32', 700);
  const alone = await verifyTablespace(input, keysOf([1, 2]));
  const threads = startPageThreads(2);
  cleanUp(() => threads.close());
  const together = await decryptTablespace(input, output, { ...keysOf([1, 2]), threads });
  expect({ ...together, keyProblems: [] }).toEqual({ ...alone, keyProblems: [] });
  expect(alone.failures.map(({ page }) => page)).toEqual([700]);
  expect(
    readFileSync(output)
      .subarray(5 * 16_384, 6 * 16_384)
      .equals(clearPage('full_crc32', 5)),
  ).toBe(true);
});

it('one page is told with its key and in clear', async () => {
  write('zip');
  const { page, result, keyId } = await decryptPage(input, 3, keysOf([1, 2]).keys);
  expect({ keyId, versions: [...result.versions.keys()] }).toEqual({ keyId: KEY_ID, versions: [2] });
  expect(page.equals(clearPage('zip', 3))).toBe(true);
  await expectKeyError(
    () => decryptPage(input, 8, keysOf([1]).keys),
    'BAD_OPTION',
    `${input}: expected a page from 0 to 7, got 8`,
  );
});

it('what is no tablespace, a damaged page 0, and an output that exists are refused', async () => {
  writeFileSync(input, 'no tablespace');
  await expectKeyError(
    () => verifyTablespace(input, keysOf([])),
    'DATA_UNREADABLE',
    `${input}: it does not begin like an InnoDB tablespace`,
  );
  const first = firstPage('full_crc32');
  first[1_000] = 1;
  writeFileSync(input, first);
  await expectKeyError(
    () => verifyTablespace(input, keysOf([])),
    'DATA_UNREADABLE',
    `${input}: page 0, which says how to read the others, is damaged: its checksum is not right`,
  );
  write('full_crc32');
  await expectKeyError(
    () => decryptTablespace(input, input, keysOf([1, 2])),
    'STORE_UNAVAILABLE',
    `${input}: it exists, and is not replaced`,
  );
  expect(SPACE_ID).toBe(layoutOf('zip').id);
});

it('an aborted copy is removed', async () => {
  write('full_crc32');
  const signal = AbortSignal.abort(new Error('stop'));
  await expect(decryptTablespace(input, output, { ...keysOf([1, 2]), signal })).rejects.toThrow('stop');
  expect(readdirSync(directory)).toEqual(['t.ibd']);
});
