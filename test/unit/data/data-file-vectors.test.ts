import { expect, it } from 'vitest';
import type { ReadAt } from '../../../src/format/innodb/tablespace.ts';
import { ariaUse, binaryLogUse, type KeyUse, redoLogUse, tablespaceUse } from '../../../src/format/key-use.ts';
import { type DataFileVector, dataFileVectors } from '../../support/data-file-vectors.ts';

const VECTORS = dataFileVectors();

function reader(bytes: Buffer): ReadAt {
  return (offset, length) => bytes.subarray(offset, offset + length);
}

function useOf({ kind, bytes, data }: DataFileVector): KeyUse | 'unknown' | undefined {
  const read = reader(bytes);
  switch (kind) {
    case 'tablespace':
      return tablespaceUse(read).use;
    case 'redo':
      return redoLogUse(read);
    case 'binlog':
      return binaryLogUse(read);
    case 'aria':
      return ariaUse(read, data === undefined ? undefined : reader(data));
    default:
      throw new Error(`no reader for ${kind}`);
  }
}

function outcome(use: KeyUse | 'unknown' | undefined): string {
  if (use === undefined) return 'none';
  if (use === 'unknown') return 'unsure';
  const ofPages = use.pages.filter((page) => page.isWhole()).map(({ version }) => version);
  const versions = new Set([...use.versions, ...ofPages]);
  return [use.id, ...[...versions].sort((a, b) => a - b)].join(' ');
}

it.each(VECTORS.map((vector) => [vector.vector, vector] as const))('a reader finds the keys of %s', (_, vector) => {
  expect(outcome(useOf(vector))).toBe(vector.uses);
});

it('every kind of file is among the vectors, with keys and without', () => {
  for (const kind of ['tablespace', 'redo', 'binlog', 'aria']) {
    const uses = VECTORS.filter((vector) => vector.kind === kind).map((vector) => vector.uses);
    expect(uses).toContain('none');
    expect(
      uses.some((text) => /^\d/.test(text)),
      kind,
    ).toBe(true);
  }
});

it('a reader never throws, whatever is cut off', () => {
  for (const vector of VECTORS) {
    for (let size = 0; size < Math.min(vector.bytes.length, 600); size += 1) {
      useOf({ ...vector, bytes: vector.bytes.subarray(0, size) });
    }
  }
});
