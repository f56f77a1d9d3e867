/** The vectors of test/vectors/data-files as text; the README.md there explains the lines. */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { crc32c } from '../src/format/crc32c.ts';

/** The bytes that were read; the rest of the file stays zero. */
export interface Recording {
  readonly vector: string;
  readonly kind: 'tablespace' | 'redo' | 'binlog' | 'aria';
  readonly name: string;
  readonly file: string;
  /** [offset, length] of each kept part. */
  readonly keep: readonly (readonly [number, number])[];
  /** The .MAD file of an Aria table. */
  readonly data?: { readonly file: string; readonly keep: readonly (readonly [number, number])[] };
  readonly uses: string;
}

const LINE_BYTES = 64;

/** Formats runs of bytes with few zeros among them as lines. */
function lines(word: string, file: string, keep: Recording['keep']): string[] {
  const descriptor = openSync(file, 'r');
  try {
    return keep.flatMap(([offset, length]) => {
      const bytes = Buffer.alloc(length);
      const size = readSync(descriptor, bytes, 0, length, offset);
      const found: string[] = [];
      for (let at = 0; at < size; at += LINE_BYTES) {
        const piece = bytes.subarray(at, Math.min(at + LINE_BYTES, size));
        const first = piece.findIndex((byte) => byte !== 0);
        const last = piece.findLastIndex((byte) => byte !== 0);
        if (first !== -1)
          found.push(`${word} ${offset + at + first} ${piece.subarray(first, last + 1).toString('hex')}`);
      }
      return found;
    });
  } finally {
    closeSync(descriptor);
  }
}

/** The size of the kept part, or of the file. */
function sizeOf(file: string, keep: Recording['keep']): number {
  return Math.min(statSync(file).size, Math.max(...keep.map(([offset, length]) => offset + length)));
}

export function vectorText(from: string, recording: Recording): string {
  const { vector, kind, name, file, keep, data, uses } = recording;
  return [
    `vector ${vector}`,
    `from ${from}`,
    `kind ${kind}`,
    `name ${name}`,
    `size ${sizeOf(file, keep)}`,
    ...lines('at', file, keep),
    ...(data === undefined
      ? []
      : [`data-size ${sizeOf(data.file, data.keep)}`, ...lines('data-at', data.file, data.keep)]),
    `uses ${uses}`,
    '',
  ].join('\n');
}

const HEADER_BYTES = 512;
const CHECKPOINT_BLOCKS = [512, 1536] as const;
const CHECKSUM_AT = 508;
const ENCRYPTED = 0x80000000;
const FORMAT_10_8 = 0x50687973;

function checksummed(block: Buffer): Buffer {
  block.writeUInt32BE(crc32c(block.subarray(0, CHECKSUM_AT)), CHECKSUM_AT);
  return block;
}

/** A header of MariaDB 10.8 and later: for an encrypted log it names the key and its version. */
function laterHeader(format: number, creator: string, key?: { readonly id: number; readonly version: number }): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(format, 0);
  header.writeBigUInt64BE(0x3000n, 8);
  header.write(creator, 16, 'latin1');
  if (key !== undefined) {
    header.writeUInt32BE(key.id, 48);
    header.writeUInt32BE(key.version, 52);
    header.fill(0xa5, 56, 76);
  }
  return checksummed(header);
}

/** A file of MariaDB up to 10.7: in an encrypted log each checkpoint names the version. */
function earlierLog(format: number, creator: string, versions: readonly number[]): Buffer {
  const log = Buffer.alloc(4 * HEADER_BYTES);
  log.writeUInt32BE(format, 0);
  log.write(creator, 16, 'latin1');
  checksummed(log.subarray(0, HEADER_BYTES));
  for (const [at, offset] of CHECKPOINT_BLOCKS.entries()) {
    const block = log.subarray(offset, offset + HEADER_BYTES);
    block.writeBigUInt64BE(BigInt(at + 1), 0);
    block.writeUInt32BE(versions[at] ?? 0, 32);
    block.fill(0x5a, 36, 56);
    checksummed(block);
  }
  return log;
}

function specified(vector: string, name: string, bytes: Buffer, uses: string): string {
  const found: string[] = [];
  for (let at = 0; at < bytes.length; at += LINE_BYTES) {
    const piece = bytes.subarray(at, at + LINE_BYTES);
    if (piece.some((byte) => byte !== 0)) found.push(`at ${at} ${piece.toString('hex')}`);
  }
  return [
    `vector ${vector}`,
    'from the specification',
    'kind redo',
    `name ${name}`,
    `size ${bytes.length}`,
    ...found,
    `uses ${uses}`,
    '',
  ].join('\n');
}

/** Redo logs that no server on this machine can write. */
export function specifiedRedoLogs(): string[] {
  const archived = 'ib_0000000000003000.log';
  return [
    specified(
      'redo-10.8-encrypted',
      'ib_logfile0',
      laterHeader(FORMAT_10_8, 'MariaDB 10.8.3', { id: 1, version: 3 }),
      '1 3',
    ),
    specified('redo-10.8-clear', 'ib_logfile0', laterHeader(FORMAT_10_8, 'MariaDB 10.8.3'), 'none'),
    specified(
      'redo-10.5-encrypted',
      'ib_logfile0',
      earlierLog((0x50485953 | ENCRYPTED) >>> 0, 'MariaDB 10.5.23', [2, 3]),
      '1 2 3',
    ),
    specified('redo-10.5-clear', 'ib_logfile0', earlierLog(0x50485953, 'MariaDB 10.5.23', []), 'none'),
    specified(
      'redo-10.4-encrypted',
      'ib_logfile0',
      earlierLog((104 | ENCRYPTED) >>> 0, 'MariaDB 10.4.32', [1, 1]),
      '1 1',
    ),
    specified(
      'redo-10.3-encrypted',
      'ib_logfile0',
      earlierLog((103 | ENCRYPTED) >>> 0, 'MariaDB 10.3.39', [7, 6]),
      '1 6 7',
    ),
    specified(
      'redo-10.2-encrypted',
      'ib_logfile0',
      earlierLog((1 | ENCRYPTED) >>> 0, 'MariaDB 10.2.44', [4, 4]),
      '1 4',
    ),
    specified('redo-10.4-clear', 'ib_logfile0', earlierLog(104, 'MariaDB 10.4.32', []), 'none'),
    specified(
      'redo-archived-encrypted',
      archived,
      laterHeader(0xf09f979d, 'MariaDB 13.0.1', { id: 1, version: 5 }),
      '1 5',
    ),
    specified('redo-archived-clear', archived, laterHeader(FORMAT_10_8, 'MariaDB 13.0.1'), 'none'),
    specified(
      'redo-of-a-later-format',
      'ib_logfile0',
      laterHeader(0xf09f979e, 'MariaDB 14.0.1', { id: 1, version: 1 }),
      'unsure',
    ),
  ];
}
