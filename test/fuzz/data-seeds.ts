/** Whole data files that the fuzzer spoils: of real servers, and made from the specification. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MADE_FORMS, type MadeKey, madeTablespace } from '../../harness/made-tablespace.ts';
import { ENCRYPTION_ALGORITHMS } from '../../src/format/encryption-algorithm.ts';
import { dataFileVectors } from '../support/data-file-vectors.ts';

export interface DataSeeds {
  readonly tablespaces: readonly Buffer[];
  /** The two files of Aria tables. */
  readonly indexes: readonly Buffer[];
  readonly rows: readonly Buffer[];
  readonly redoLogs: readonly Buffer[];
  readonly binaryLogs: readonly Buffer[];
}

/** More of a file is not kept: readers do with later pages what they do with the first. */
const MOST_BYTES = 24_576;

export const MADE_KEYS: readonly MadeKey[] = ENCRYPTION_ALGORITHMS.map((algorithm, at) => ({
  bytes: Buffer.alloc(16 + 8 * at, 7),
  algorithm,
  id: 5,
  versions: [1, 2],
}));

/** @param directory a server's data directory, whose files are seeds as well */
export function dataSeeds(directory?: string): DataSeeds {
  const vectors = dataFileVectors();
  const of = (kind: string): readonly Buffer[] =>
    vectors.filter((vector) => vector.kind === kind).map(({ bytes }) => bytes);
  const made = MADE_FORMS.flatMap((form) =>
    [undefined, ...MADE_KEYS].map((key) => madeTablespace(form, key).subarray(0, MOST_BYTES)),
  );
  const real = (name: RegExp): readonly Buffer[] => (directory === undefined ? [] : filesOf(directory, name));
  return {
    tablespaces: [...made, ...of('tablespace'), ...real(/\.ibd$|^ibdata1$|^undo\d{3}$|^ibtmp1$/)],
    indexes: [...of('aria'), ...real(/\.MAI$/)],
    rows: [...vectors.flatMap(({ data }) => data?.subarray(0, MOST_BYTES) ?? []), ...real(/\.MAD$/)],
    redoLogs: [...of('redo'), ...real(/^ib_logfile\d+$/)],
    binaryLogs: [...of('binlog'), ...real(/^(?:binlog|relay).*\.\d{6}$/)],
  };
}

function filesOf(directory: string, name: RegExp): readonly Buffer[] {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && name.test(entry.name))
    .map((entry) => Buffer.from(readFileSync(join(entry.parentPath, entry.name)).subarray(0, MOST_BYTES)));
}
