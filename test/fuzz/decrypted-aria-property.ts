/** Aria tables of any bytes are decrypted, or refused by an error that names them. */
import fc from 'fast-check';
import { decryptAria, verifyAria } from '../../src/decrypt/aria.ts';
import type { DataKeys } from '../../src/decrypt/data-keys.ts';
import type { NewFile } from '../../src/disk/new-file.ts';
import { KeyError } from '../../src/errors.ts';
import { ENCRYPTION_ALGORITHMS } from '../../src/format/encryption-algorithm.ts';

const NAME = 'd/a';
const SIGNAL = new AbortController().signal;
const MOST_BYTES = 100_000_000;

/** Key N is 16 bytes of the value N. */
const KEYS: Pick<DataKeys, 'candidates' | 'place'> = {
  place: 'keys.txt',
  candidates: (id, version) =>
    Promise.resolve(
      version === 1 ? ENCRYPTION_ALGORITHMS.map((algorithm) => ({ bytes: Buffer.alloc(16, id), algorithm })) : [],
    ),
};

class MemoryFile implements NewFile {
  readonly descriptor = -1;
  bytes: Buffer = Buffer.alloc(0);

  write(bytes: Uint8Array, offset: number): void {
    const end = offset + bytes.length;
    if (end > MOST_BYTES) throw new Error(`a write at ${offset}`);
    if (end > this.bytes.length) this.bytes = Buffer.concat([this.bytes], end);
    this.bytes.set(bytes, offset);
  }

  read(into: Uint8Array, offset: number): void {
    into.set(this.bytes.subarray(offset, offset + into.length));
  }

  extend(): void {}
  async complete(): Promise<void> {}
  undo(): void {}
  close(): void {}
}

async function refused<T>(run: () => Promise<T>): Promise<T | undefined> {
  try {
    return await run();
  } catch (thrown) {
    const isExpected = thrown instanceof KeyError && ['DATA_UNREADABLE', 'KEY_UNKNOWN'].includes(thrown.code);
    if (isExpected && thrown.message.startsWith(NAME)) return undefined;
    throw thrown;
  }
}

async function decryptAnyAria(index: Buffer, data: Buffer): Promise<void> {
  let reads = 0;
  const source = (bytes: Buffer) => ({
    bytes: bytes.length,
    readInto: (into: Buffer, offset: number): number => {
      reads += 1;
      return bytes.copy(into, 0, Math.min(offset, bytes.length));
    },
  });
  const from = { index: source(index), data: source(data) };
  const to = { index: new MemoryFile(), data: new MemoryFile() };
  await refused(() => decryptAria(NAME, from, to, KEYS, SIGNAL));
  await refused(() => verifyAria(NAME, from, KEYS, SIGNAL));
  if (reads > index.length + data.length + 1_000) throw new Error(`${reads} reads`);
}

export function decryptedAriaProperty(
  index: fc.Arbitrary<Buffer>,
  rows: fc.Arbitrary<Buffer>,
  within: (run: () => Promise<void>) => Promise<void>,
): fc.IRawProperty<unknown> {
  return fc.asyncProperty(index, rows, (mai, mad) => within(() => decryptAnyAria(mai, mad)));
}
