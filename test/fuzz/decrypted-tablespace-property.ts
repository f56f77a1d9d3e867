/** Tablespaces of any bytes are decrypted, or refused by an error that names them. */
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import type { DataKeys } from '../../src/decrypt/data-keys.ts';
import { Pages } from '../../src/decrypt/tablespace/pages.ts';
import { decryptTablespace, type TablespaceParts, verifyTablespace } from '../../src/decrypt/tablespace/tablespace.ts';
import type { PageThreads } from '../../src/decrypt/tablespace/threads.ts';
import { KeyError } from '../../src/errors.ts';
import { ENCRYPTION_ALGORITHMS } from '../../src/format/encryption-algorithm.ts';
import { pageDamage } from '../../src/format/innodb/page-checksum.ts';
import { readTablespace } from '../../src/format/innodb/tablespace.ts';
import { MADE_KEYS } from './data-seeds.ts';

const SIGNAL = new AbortController().signal;
const REFUSALS: readonly KeyError['code'][] = ['DATA_UNREADABLE', 'KEY_UNKNOWN', 'STORE_UNAVAILABLE'];

/** Keys of the made tablespaces, and key N of 16 bytes N for files of a server. */
const KEYS: DataKeys = {
  place: 'keys.txt',
  candidates: (id, version) => {
    const known = ENCRYPTION_ALGORITHMS.map((algorithm) => ({ bytes: Buffer.alloc(16, id), algorithm }));
    return Promise.resolve(version > 2 ? [] : id === 5 && version === 2 ? MADE_KEYS : [...MADE_KEYS, ...known]);
  },
  wipe: () => undefined,
};

/** Reads in this thread, and waits for no server that may be writing. */
const THREADS: PageThreads = {
  count: 1,
  read: (_file, space, keys, from, to) => new Pages(space, keys, () => undefined).range(from, to),
  close: () => Promise.resolve(),
};

const PARTS: TablespaceParts = {
  keys: KEYS,
  threads: THREADS,
  random: () => 0.5,
  signal: SIGNAL,
  progress: () => undefined,
};

async function refused<T>(names: readonly string[], run: () => Promise<T>): Promise<T | undefined> {
  try {
    return await run();
  } catch (thrown) {
    const isExpected = thrown instanceof KeyError && REFUSALS.includes(thrown.code);
    if (isExpected && names.some((name) => thrown.message.startsWith(name))) return undefined;
    throw thrown;
  }
}

/** Descriptors are given anew from the lowest that is free. */
function nextDescriptor(): number {
  const descriptor = openSync('/dev/null', 'r');
  closeSync(descriptor);
  return descriptor;
}

/** @param verify it is verified, too, without a copy */
async function decryptAnyTablespace(bytes: Buffer, verify: boolean): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'mak-fuzz-'));
  try {
    const [input, output] = [join(directory, 't.ibd'), join(directory, 'clear.ibd')];
    writeFileSync(input, bytes);
    const free = nextDescriptor();
    const result = await refused([input, output], () => decryptTablespace(input, output, PARTS));
    const checked = verify ? await refused([input], () => verifyTablespace(input, PARTS)) : result;
    if (nextDescriptor() !== free) throw new Error('a file is still open');
    const left = readdirSync(directory).sort().join(' ');
    if (left !== (result === undefined ? 't.ibd' : 'clear.ibd t.ibd')) throw new Error(`there are: ${left}`);
    if (verify && !readFileSync(input).equals(bytes)) throw new Error('the input has changed');
    if (result === undefined) return;
    if (checked?.failed !== result.failed) throw new Error(`${result.failed} of ${checked?.failed} failures`);
    expectClear(readFileSync(output), result.failed);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** All pages of the copy are in clear and right but those that were reported. */
function expectClear(copy: Buffer, failed: number): void {
  const { layout, crypt } = readTablespace((at, length) => copy.subarray(at, at + length)) ?? {};
  if (layout === undefined || crypt !== undefined) throw new Error('the copy is no tablespace in clear');
  let damaged = 0;
  for (let number = 0; (number + 1) * layout.fileBytes <= copy.length; number += 1) {
    const page = copy.subarray(number * layout.fileBytes, (number + 1) * layout.fileBytes);
    if (pageDamage(layout, false, number, page) !== undefined) damaged += 1;
  }
  if (damaged > failed) throw new Error(`${damaged} pages are damaged, and ${failed} were reported`);
}

export function decryptedTablespaceProperty(
  tablespace: fc.Arbitrary<Buffer>,
  within: (run: () => Promise<void>) => Promise<void>,
): fc.IRawProperty<unknown> {
  return fc.asyncProperty(tablespace, fc.nat({ max: 3 }), (bytes, turn) =>
    within(() => decryptAnyTablespace(bytes, turn === 0)),
  );
}
