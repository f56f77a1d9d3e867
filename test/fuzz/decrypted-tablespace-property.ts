/** Tablespaces of any bytes are decrypted, or refused by an error that names them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { openSpace } from '../../src/decrypt/tablespace/open-space.ts';
import { type KeysOfVersion, type OpenSpace, Pages } from '../../src/decrypt/tablespace/pages.ts';
import {
  decryptTablespace,
  type TablespaceParts,
  type TablespaceResult,
  verifyTablespace,
} from '../../src/decrypt/tablespace/tablespace.ts';
import type { PageThreads } from '../../src/decrypt/tablespace/threads.ts';
import { KeyError } from '../../src/errors.ts';
import { pageDamage } from '../../src/format/innodb/page-checksum.ts';
import { readTablespace } from '../../src/format/innodb/tablespace.ts';
import { isKeyId, isKeyVersion } from '../../src/ids.ts';
import { ANY_KEYS } from './any-keys.ts';
import { withFiles } from './scratch-files.ts';

const SIGNAL = new AbortController().signal;
const REFUSALS: readonly KeyError['code'][] = ['DATA_UNREADABLE', 'KEY_UNKNOWN', 'STORE_UNAVAILABLE', 'KMS_OPERATOR'];

/** Reads in this thread, and waits for no server that may be writing. */
export const THIS_THREAD: PageThreads = {
  count: 1,
  read: (_file, space, keys, from, to) => new Pages(space, keys, () => undefined).range(from, to),
  close: () => Promise.resolve(),
};

const PARTS: TablespaceParts = {
  keys: ANY_KEYS,
  threads: THIS_THREAD,
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

/** @param turn 0: the tablespace is verified, too, without a copy; 1: one of its pages is decrypted */
async function decryptAnyTablespace(bytes: Buffer, turn: number): Promise<void> {
  await withFiles([['t.ibd', bytes]], async (directory) => {
    const [input, output] = [join(directory, 't.ibd'), join(directory, 'clear.ibd')];
    const result = await refused([input, output], () => decryptTablespace(input, output, PARTS));
    if (turn === 1) await decryptAnyPage(input, bytes.length % 12, result);
    if (turn === 0 && !readFileSync(input).equals(bytes)) throw new Error('the input has changed');
    const checked = turn === 0 ? await refused([input], () => verifyTablespace(input, PARTS)) : result;
    if (result === undefined) return [];
    if (checked?.failed !== result.failed) throw new Error(`${result.failed} of ${checked?.failed} failures`);
    expectClear(readFileSync(output), result.failed);
    return [output];
  });
}

/** A page alone has the same outcome as among all. @param all undefined: nothing was decrypted */
async function decryptAnyPage(input: string, number: number, all: TablespaceResult | undefined): Promise<void> {
  const opened = await refused([input], async () => openSpace(input));
  if (opened === undefined) return;
  try {
    if (number >= opened.pages) return;
    const { result } = await new Pages(opened.space, candidates(opened.space), () => undefined).one(number);
    const [failure] = result.failures;
    const known = all?.failures.find(({ page }) => page === number);
    if (all !== undefined && failure?.reason !== known?.reason)
      throw new Error(`page ${number}: ${failure?.reason}, not ${known?.reason}`);
  } finally {
    opened.close();
  }
}

function candidates({ crypt }: OpenSpace): KeysOfVersion {
  return async (version) => {
    const id = crypt?.keyId ?? 0;
    return isKeyId(id) && isKeyVersion(version) ? await ANY_KEYS.candidates(id, version).catch(() => []) : [];
  };
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
    within(() => decryptAnyTablespace(bytes, turn)),
  );
}
