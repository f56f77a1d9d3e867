/** A binary log of any bytes is decrypted up to its first damage, which an error names, or checked to its end. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { type DecryptedLog, decryptLog, type LogInput } from '../../src/decrypt/binlog.ts';
import type { DataKeys } from '../../src/decrypt/data-keys.ts';
import { KeyError } from '../../src/errors.ts';
import { ENCRYPTION_ALGORITHMS } from '../../src/format/encryption-algorithm.ts';
import { spoiltFile } from './spoilt-files.ts';

const NAME = 'binlog.000007';
const VECTORS = join(import.meta.dirname, '../vectors/logs');
const NEVER = new AbortController().signal;
/** Bytes that a log can be longer for a reader than it is. */
const CHUNK = 2 ** 16;

/** The key of the vectors, whose algorithm nothing tells. */
const KEYS: Pick<DataKeys, 'candidates' | 'place'> = {
  place: 'keys.txt',
  candidates: (id, version) =>
    Promise.resolve(
      id === 1 && version === 1
        ? ENCRYPTION_ALGORITHMS.map((algorithm) => ({ bytes: Buffer.alloc(16, 1), algorithm }))
        : [],
    ),
};

/** @param piece most bytes that one read gets, as of a pipe */
function inputOf(bytes: Buffer, piece: number): LogInput {
  let [at, reads] = [0, 0];
  return {
    name: NAME,
    read: (into) => {
      const got = bytes.copy(into, 0, at, Math.min(at + piece, bytes.length));
      at += got;
      reads += 1;
      if (into.length === 0 || reads > bytes.length + 10) throw new Error('reads have no end');
      return Promise.resolve(got);
    },
  };
}

async function refused(run: () => Promise<DecryptedLog>): Promise<DecryptedLog | undefined> {
  try {
    return await run();
  } catch (thrown) {
    const isExpected = thrown instanceof KeyError && ['DATA_UNREADABLE', 'KEY_UNKNOWN'].includes(thrown.code);
    if (isExpected && thrown.message.startsWith(`${NAME}: `)) return undefined;
    throw thrown;
  }
}

async function readLog(bytes: Buffer, piece: number): Promise<void> {
  let written = 0;
  const output = (part: Buffer): Promise<void> => {
    written += part.length;
    return Promise.resolve();
  };
  const copied = await refused(() => decryptLog(inputOf(bytes, piece), KEYS, output, NEVER));
  if (written > bytes.length + CHUNK) throw new Error(`${bytes.length} bytes became ${written}`);
  const checked = await refused(() => decryptLog(inputOf(bytes, piece), KEYS, undefined, NEVER));
  if (copied !== undefined && checked?.damagedEvents !== 0) throw new Error('a log that was decrypted is damaged');
  let last = 0;
  for (const { position, text } of checked?.damaged ?? []) {
    if (position < last || position > bytes.length || !text.includes(`${position}`))
      throw new Error(`damage at ${position}: ${text}`);
    last = position;
  }
}

/** @param logs more seeds */
export function binaryLogProperty(
  logs: readonly Buffer[],
  within: (run: () => Promise<void>) => Promise<void>,
): fc.IRawProperty<unknown> {
  const names = readdirSync(VECTORS).filter((name) => !name.endsWith('.md'));
  const seeds = [...names.map((name) => readFileSync(join(VECTORS, name))), ...logs];
  const piece = fc.constantFrom(1_000_000, 4_096, 19, 1);
  return fc.asyncProperty(spoiltFile(seeds), piece, (bytes, most) =>
    within(() => readLog(bytes, Math.max(most, bytes.length >> 6))),
  );
}
