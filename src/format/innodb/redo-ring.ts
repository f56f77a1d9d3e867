/**
 * The mini-transactions of InnoDB's redo log, ib_logfile0, as MariaDB 10.8 and later write it, in clear or encrypted. Facts from
 * MariaDB's log0log.h, log0recv.cc and mtr0types.h.
 *
 * The file is a header and a ring of mini-transactions. One is records, each with its length in clear; a byte that is 1 in one
 * lap of the ring and 0 in the next; in an encrypted log 8 bytes of nonce; and a CRC-32C of records and nonce. None of that
 * depends on the LSN but the lap. The log ends where no whole mini-transaction of the lap follows.
 */
import { crc32c } from '../crc32c.ts';
import { REDO_FORMAT, REDO_FORMAT_ENCRYPTED } from './redo-log.ts';
import type { ReadAt } from './tablespace.ts';

const RING = 12_288;
const REDO_FORMAT_ENCRYPTED_10_8 = 0xd0687973;
const FIRST_LSN = 8;
const CHECKPOINTS = [4096, 8192];
const CHECKPOINT_BYTES = 60;
const [NONCE_BYTES, CHECKSUM_BYTES] = [8, 4];
const MOST_RECORD_BYTES = 1 << 20;
/** Bytes after the checkpoint that show whether anything follows it. */
const LOOK_BYTES = 2 << 20;
/** A mini-transaction with the record FILE_CHECKPOINT alone, without a nonce. */
const CHECKPOINT_RECORD_BYTES = 16;

/** A lap of the ring, from the checkpoint on. */
export class RedoRing {
  readonly encrypted: boolean;
  /** The LSN at which recovery starts to read. */
  readonly checkpoint: number;
  /** The log's bytes from there on. */
  readonly bytes: Buffer;
  readonly #firstLsn: number;
  readonly #ringBytes: number;

  private constructor(head: Buffer, encrypted: boolean, read: ReadAt, fileBytes: number, most: number) {
    this.encrypted = encrypted;
    this.#firstLsn = Number(head.readBigUInt64BE(FIRST_LSN));
    this.#ringBytes = fileBytes - RING;
    this.checkpoint = latestCheckpoint(head);
    const offset = this.offsetOf(0);
    const length = Math.min(most, this.#ringBytes);
    const straight = read(offset, Math.min(length, fileBytes - offset));
    this.bytes = Buffer.concat([straight, read(RING, length - straight.length)]);
  }

  /**
   * @param most bytes of the ring to read
   * @returns undefined for another format, and for a log without a valid checkpoint
   */
  static open(read: ReadAt, fileBytes: number, most = Number.POSITIVE_INFINITY): RedoRing | undefined {
    const head = read(0, RING);
    if (head.length < RING || fileBytes <= RING) return undefined;
    const format = head.readUInt32BE(0);
    const encrypted = format === REDO_FORMAT_ENCRYPTED || format === REDO_FORMAT_ENCRYPTED_10_8;
    if (!encrypted && format !== REDO_FORMAT) return undefined;
    if (latestCheckpoint(head) < Number(head.readBigUInt64BE(FIRST_LSN))) return undefined;
    return new RedoRing(head, encrypted, read, fileBytes, most);
  }

  /** The offset in the file. */
  offsetOf(at: number): number {
    return RING + ((this.checkpoint + at - this.#firstLsn) % this.#ringBytes);
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

  #byte(at: number): number {
    return this.bytes[at] ?? 0;
  }

  #lapBit(at: number): number {
    return 1 - (Math.floor((this.checkpoint + at - this.#firstLsn) / this.#ringBytes) % 2);
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

/**
 * Tells whether the log has changes that the files may lack, because the server runs or did not shut down: a start
 * recovers them first. Undefined for other formats, and for a log without a valid checkpoint.
 */
export function needsRecovery(read: ReadAt, fileBytes: number): boolean | undefined {
  const ring = RedoRing.open(read, fileBytes, LOOK_BYTES);
  if (ring === undefined) return undefined;
  const first = ring.endOf(0);
  if (first === undefined) return false;
  const isCheckpointAlone = first <= CHECKPOINT_RECORD_BYTES + (ring.encrypted ? NONCE_BYTES : 0);
  return !isCheckpointAlone || ring.endOf(first) !== undefined;
}

/** Returns 0 when none is valid. */
function latestCheckpoint(head: Buffer): number {
  const lsns = CHECKPOINTS.map((at) => head.subarray(at))
    .filter((block) => crc32c(block.subarray(0, CHECKPOINT_BYTES)) === block.readUInt32BE(CHECKPOINT_BYTES))
    .map((block) => Number(block.readBigUInt64BE(0)));
  return Math.max(0, ...lsns);
}
