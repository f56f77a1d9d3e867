import { expect, it } from 'vitest';
import { crc32c } from '../../../../src/format/crc32c.ts';
import { REDO_FORMAT, REDO_FORMAT_ENCRYPTED } from '../../../../src/format/innodb/redo-log.ts';
import { needsRecovery } from '../../../../src/format/innodb/redo-ring.ts';

const RING = 12_288;
const FIRST_LSN = 12_288;
/** FILE_CHECKPOINT and the 10 bytes that follow, the last 8 an LSN. */
const CHECKPOINT_RECORD = Buffer.from('fa00000000000000003000', 'hex');
const INSERT = Buffer.from('3400112233', 'hex');

/** A log whose checkpoint is its beginning, followed by mini-transactions of one record each. */
function logOf(format: number, records: readonly Buffer[], capacity = 4096): Buffer {
  const file = Buffer.alloc(RING + capacity);
  file.writeUInt32BE(format, 0);
  file.writeBigUInt64BE(BigInt(FIRST_LSN), 8);
  file.writeBigUInt64BE(BigInt(FIRST_LSN), 4096);
  file.writeUInt32BE(crc32c(file.subarray(4096, 4156)), 4156);
  let at = RING;
  for (const record of records) {
    const nonce = Buffer.alloc(format === REDO_FORMAT ? 0 : 8, 9);
    const checksum = Buffer.alloc(4);
    checksum.writeUInt32BE(crc32c(Buffer.concat([record, nonce])));
    at += Buffer.concat([record, Buffer.of(1), nonce, checksum]).copy(file, at);
  }
  return file;
}

function ask(file: Buffer): boolean | undefined {
  return needsRecovery((offset, length) => file.subarray(offset, offset + length), file.length);
}

it.each([
  ['in clear', REDO_FORMAT],
  ['encrypted', REDO_FORMAT_ENCRYPTED],
])('a redo log %s needs recovery when more than a checkpoint follows its checkpoint', (_, format) => {
  expect(ask(logOf(format, [CHECKPOINT_RECORD]))).toBe(false);
  expect(ask(logOf(format, []))).toBe(false);
  expect(ask(logOf(format, [CHECKPOINT_RECORD, INSERT]))).toBe(true);
  expect(ask(logOf(format, [Buffer.concat([INSERT, INSERT, INSERT, INSERT, CHECKPOINT_RECORD])]))).toBe(true);
});

it('a damaged mini-transaction, and one of an earlier lap, ends the log', () => {
  const damaged = logOf(REDO_FORMAT, [CHECKPOINT_RECORD, INSERT]);
  const second = RING + CHECKPOINT_RECORD.length + 5;
  damaged.writeUInt8(0x7f, second + 2);
  expect(ask(damaged)).toBe(false);
  const earlier = logOf(REDO_FORMAT, [CHECKPOINT_RECORD, INSERT]);
  earlier.writeUInt8(0, second + INSERT.length);
  expect(ask(earlier)).toBe(false);
});

it('the log of a prepared backup, a checkpoint and nothing more, needs no recovery', () => {
  expect(ask(logOf(REDO_FORMAT, [CHECKPOINT_RECORD], 16))).toBe(false);
});

it('nothing is said about another format, a log without a valid checkpoint, and one that is cut', () => {
  expect(ask(logOf(104, [CHECKPOINT_RECORD, INSERT]))).toBeUndefined();
  const spoilt = logOf(REDO_FORMAT, [CHECKPOINT_RECORD, INSERT]);
  spoilt.writeUInt8(1, 4100);
  expect(ask(spoilt)).toBeUndefined();
  expect(ask(logOf(REDO_FORMAT, []).subarray(0, 600))).toBeUndefined();
});
