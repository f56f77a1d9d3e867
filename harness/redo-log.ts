/**
 * InnoDB's redo log, ib_logfile0, as MariaDB 10.8 and later write it, in clear or encrypted: where a server that starts after a
 * crash takes it to end, and whether it was written up to there. Facts from MariaDB's log0log.h, log0recv.cc and mtr0types.h.
 *
 * The file is a header and a ring of mini-transactions. One is records, each with its length in clear; a byte that is 1 in one
 * lap of the ring and 0 in the next; in an encrypted log 8 bytes of nonce; and a CRC-32C of records and nonce. None of that
 * depends on the LSN but the lap. The log ends where no whole mini-transaction of the lap follows.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { crc32c } from '../src/format/crc32c.ts';
import { REDO_FORMAT, REDO_FORMAT_ENCRYPTED } from '../src/format/innodb/redo-log.ts';

const RING = 12_288;
const REDO_FORMAT_ENCRYPTED_10_8 = 0xd0687973;
const CHECKPOINTS = [4096, 8192];
const CHECKPOINT_BYTES = 60;
const [NONCE_BYTES, CHECKSUM_BYTES] = [8, 4];
const MOST_RECORD_BYTES = 1 << 20;
/**
 * The log is written in blocks of 512 or 4096 bytes. Bytes that repeat at the same offset of a large block also do so
 * in a small one.
 */
const [SMALL_BLOCK, LARGE_BLOCK] = [512, 4096];
/** In an unencrypted log, small mini-transactions with the same effect may be equal. */
const LEAST_REPEATED_BYTES = 32;

export interface RedoLog {
  readonly encrypted: boolean;
  /** The LSN at which recovery starts to read. */
  readonly checkpoint: number;
  /** The LSN at which recovery takes the log to end. */
  readonly end: number;
  /** Undefined: nothing indicates that the log ends before `end`. */
  readonly stale: StaleTail | undefined;
}

/**
 * Complete mini-transactions of an older block after the last written one: recovery takes them for its continuation.
 */
export interface StaleTail {
  /** The LSN up to which the log was written. */
  readonly from: number;
  /** The same as an offset in the file: a byte 0 at that offset ends the log. */
  readonly offset: number;
  /** Their distance in bytes of log to their place in the ring's current lap. */
  readonly behind: number;
  readonly miniTransactions: number;
}

/** @throws Error when it is not such a log, or has no valid checkpoint */
export function readRedoLog(file: Buffer): RedoLog {
  const ring = new Ring(file);
  const starts: number[] = [];
  let end = 0;
  for (let next = ring.endOf(end); next !== undefined; next = ring.endOf(end)) {
    starts.push(end);
    end = next;
  }
  const { encrypted, checkpoint } = ring;
  return { encrypted, checkpoint, end: checkpoint + end, stale: staleTail(ring, starts, end) };
}

/** Ends the log in the file where it was written to. */
export function endRedoLog(path: string, { offset }: StaleTail): void {
  const file = openSync(path, 'r+');
  try {
    writeSync(file, new Uint8Array(1), 0, 1, offset);
  } finally {
    closeSync(file);
  }
}

/** One lap of the ring, from the checkpoint on. */
class Ring {
  readonly bytes: Buffer;
  readonly encrypted: boolean;
  readonly checkpoint: number;
  readonly #firstLsn: number;

  constructor(file: Buffer) {
    const format = file.length > RING ? file.readUInt32BE(0) : 0;
    this.encrypted = format === REDO_FORMAT_ENCRYPTED || format === REDO_FORMAT_ENCRYPTED_10_8;
    if (!this.encrypted && format !== REDO_FORMAT)
      throw new Error(`expected a redo log of MariaDB 10.8 or later, got format 0x${format.toString(16)}`);
    this.#firstLsn = Number(file.readBigUInt64BE(8));
    this.checkpoint = latestCheckpoint(file, this.#firstLsn);
    const offset = RING + ((this.checkpoint - this.#firstLsn) % (file.length - RING));
    this.bytes = Buffer.concat([file.subarray(offset), file.subarray(RING, offset)]);
  }

  offsetOf(at: number): number {
    return RING + ((this.checkpoint + at - this.#firstLsn) % this.bytes.length);
  }

  /**
   * Returns the end of the mini-transaction that starts at `start`; undefined when there is none, or it is incomplete.
   */
  endOf(start: number): number | undefined {
    let at = start;
    for (let byte = this.#byte(at); byte > 1; byte = this.#byte(at)) {
      at += 1 + (byte & 15 || this.#longLength(at + 1));
      if (at - start > MOST_RECORD_BYTES) return undefined;
    }
    const checksumAt = at + 1 + (this.encrypted ? NONCE_BYTES : 0);
    const end = checksumAt + CHECKSUM_BYTES;
    if (at === start || end > this.bytes.length || this.#byte(at) !== this.#lapBit(at)) return undefined;
    const nonce = this.bytes.subarray(at + 1, checksumAt);
    const checksum = crc32c(nonce, crc32c(this.bytes.subarray(start, at)));
    return checksum === this.bytes.readUInt32BE(checksumAt) ? end : undefined;
  }

  /** Returns another occurrence of the bytes at the same offset in a block. */
  repeated(start: number, end: number): number | undefined {
    const wanted = this.bytes.subarray(start, end);
    for (let at = this.bytes.indexOf(wanted); at >= 0; at = this.bytes.indexOf(wanted, at + 1))
      if (at !== start && (start - at) % SMALL_BLOCK === 0) return at;
    return undefined;
  }

  #byte(at: number): number {
    return this.bytes[at] ?? 0;
  }

  #lapBit(at: number): number {
    return 1 - (Math.floor((this.checkpoint + at - this.#firstLsn) / this.bytes.length) % 2);
  }

  /** The number of bytes after a record's first one, including this length. */
  #longLength(at: number): number {
    const [a, b, c, d] = [this.#byte(at), this.#byte(at + 1), this.#byte(at + 2), this.#byte(at + 3)];
    if (a < 0x80) return 15 + a;
    if (a < 0xc0) return 15 + 0x80 + (((a & 0x3f) << 8) | b);
    if (a < 0xe0) return 15 + 0x4080 + (((a & 0x1f) << 16) | (b << 8) | c);
    return 15 + 0x204080 + (((a & 0x0f) << 24) | (b << 16) | (c << 8) | d);
  }
}

function latestCheckpoint(file: Buffer, firstLsn: number): number {
  const lsns = CHECKPOINTS.map((at) => file.subarray(at))
    .filter((block) => crc32c(block.subarray(0, CHECKPOINT_BYTES)) === block.readUInt32BE(CHECKPOINT_BYTES))
    .map((block) => Number(block.readBigUInt64BE(0)));
  const latest = Math.max(...lsns);
  if (latest < firstLsn) throw new Error('the redo log has no valid checkpoint');
  return latest;
}

/** Only the block that was written last can hold any. */
function staleTail(ring: Ring, starts: readonly number[], end: number): StaleTail | undefined {
  const block = end - 1 - (ring.offsetOf(end - 1) % LARGE_BLOCK);
  const inBlock = starts.filter((start) => start >= block);
  for (const [index, start] of inBlock.entries()) {
    const tail = Math.min(Math.max(end, start + LEAST_REPEATED_BYTES), block + LARGE_BLOCK);
    const older = tail - start < LEAST_REPEATED_BYTES ? undefined : ring.repeated(start, tail);
    if (older === undefined) continue;
    return {
      from: ring.checkpoint + start,
      offset: ring.offsetOf(start),
      behind: (start - older + ring.bytes.length) % ring.bytes.length,
      miniTransactions: inBlock.length - index,
    };
  }
  return undefined;
}
