/** Finds the end of InnoDB's redo log as a start after a crash takes it, and whether the log was written up to there. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { RedoRing } from '../src/format/innodb/redo-ring.ts';

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
  const ring = RedoRing.open((offset, length) => file.subarray(offset, offset + length), file.length);
  if (ring === undefined) throw new Error('expected a redo log of MariaDB 10.8 or later with a valid checkpoint');
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

/** Only the block that was written last can hold any. */
function staleTail(ring: RedoRing, starts: readonly number[], end: number): StaleTail | undefined {
  const block = end - 1 - (ring.offsetOf(end - 1) % LARGE_BLOCK);
  const inBlock = starts.filter((start) => start >= block);
  for (const [index, start] of inBlock.entries()) {
    const tail = Math.min(Math.max(end, start + LEAST_REPEATED_BYTES), block + LARGE_BLOCK);
    const older = tail - start < LEAST_REPEATED_BYTES ? undefined : repeated(ring.bytes, start, tail);
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

/** Returns another occurrence of the bytes at the same offset in a block. */
function repeated(bytes: Buffer, start: number, end: number): number | undefined {
  const wanted = bytes.subarray(start, end);
  for (let at = bytes.indexOf(wanted); at >= 0; at = bytes.indexOf(wanted, at + 1))
    if (at !== start && (start - at) % SMALL_BLOCK === 0) return at;
  return undefined;
}
