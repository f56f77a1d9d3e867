import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MADE_FORMS, type MadeForm, madeTablespace } from '../../../../harness/made-tablespace.ts';
import type { DataKeys } from '../../../../src/decrypt/data-keys.ts';
import { decryptTablespace, type TablespaceResult } from '../../../../src/decrypt/tablespace/tablespace.ts';
import { callingThread } from '../../../../src/decrypt/tablespace/threads.ts';
import { MADE_KEYS } from '../../../fuzz/data-seeds.ts';
import { scratchDirectory } from '../../../support/scratch.ts';

const KEYS: DataKeys = { place: 'keys.txt', candidates: async () => MADE_KEYS, wipe: () => undefined };
/** Sizes of pages in the file, and pages of a made tablespace. */
const [PAGE, USED_PAGE] = [4_096, 3];

async function decrypted(bytes: Buffer): Promise<{ readonly result: TablespaceResult; readonly copy: Buffer }> {
  const directory = scratchDirectory();
  const [input, output] = [join(directory, 't.ibd'), join(directory, 'clear.ibd')];
  writeFileSync(input, bytes);
  const { signal } = new AbortController();
  const parts = { keys: KEYS, threads: callingThread(), random: () => 0.5, signal, progress: () => undefined };
  return { result: await decryptTablespace(input, output, parts), copy: readFileSync(output) };
}

function formOf(name: string): MadeForm {
  const form = MADE_FORMS.find((made) => made.name === name);
  if (form === undefined) throw new Error(`no form ${name}`);
  return form;
}

describe.each(['full_crc32, 4K', 'older, 4K'])('a tablespace of the form %s', (name) => {
  const [key] = MADE_KEYS;

  it('has a page whose beginning was lost, which is no page that was never written', async () => {
    const bytes = madeTablespace(formOf(name), key);
    bytes.fill(0, USED_PAGE * PAGE, USED_PAGE * PAGE + 512);
    const { result, copy } = await decrypted(bytes);
    expect(result).toMatchObject({ failed: 1, empty: 1, failures: [{ page: USED_PAGE, reason: 'strange' }] });
    expect(copy.subarray(USED_PAGE * PAGE, (USED_PAGE + 1) * PAGE)).toEqual(
      bytes.subarray(USED_PAGE * PAGE, (USED_PAGE + 1) * PAGE),
    );
  });
});

it('an older page that names another tablespace is not right, although its checksums are', async () => {
  const bytes = madeTablespace(formOf('older, 4K'), MADE_KEYS[0]);
  bytes.writeUInt8(1, USED_PAGE * PAGE + 34);
  const { result } = await decrypted(bytes);
  expect(result).toMatchObject({ failed: 1, failures: [{ page: USED_PAGE, version: 2, reason: 'tablespace' }] });
});

it('an older page whose end is of another write is not right, although its checksums are', async () => {
  const bytes = madeTablespace(formOf('older, 4K'), MADE_KEYS[0]);
  const end = (USED_PAGE + 1) * PAGE;
  bytes.writeUInt32BE(bytes.readUInt32BE(end - 4) + 1, end - 4);
  const { result, copy } = await decrypted(bytes);
  expect(result).toMatchObject({ failed: 1, failures: [{ page: USED_PAGE, version: 2, reason: 'end' }] });
  expect(copy.subarray(end - PAGE, end)).toEqual(bytes.subarray(end - PAGE, end));
});
