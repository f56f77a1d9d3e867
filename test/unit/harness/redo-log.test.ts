import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { endRedoLog, type RedoLog, readRedoLog } from '../../../harness/redo-log.ts';
import { startAfterKill } from '../../../harness/start-after-kill.ts';
import { crc32c } from '../../../src/format/crc32c.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const RING = 12_288;
const FIRST_LSN = 0x3000;
const CAPACITY = 8 * 4096;
const FORMATS = [
  ['in clear', 0x50687973, 0],
  ['encrypted by 10.8', 0xd0687973, 8],
  ['encrypted by 10.11.19', 0xf09f979d, 8],
] as const;
const IN_CLEAR = 0x50687973;

/** A log file as InnoDB writes it, with the changes that a test makes. */
class Log {
  readonly file = Buffer.alloc(RING + CAPACITY);
  readonly #nonce: number;
  lsn: number;
  #made = 0;

  constructor(format = IN_CLEAR, nonce = 0, checkpoint = FIRST_LSN) {
    this.#nonce = nonce;
    this.lsn = checkpoint;
    this.file.writeUInt32BE(format, 0);
    this.file.writeBigUInt64BE(BigInt(FIRST_LSN), 8);
    this.checkpoint(4096, checkpoint);
  }

  checkpoint(at: number, lsn: number): void {
    this.file.writeBigUInt64BE(BigInt(lsn), at);
    this.file.writeUInt32BE(crc32c(this.file.subarray(at, at + 60)), at + 60);
  }

  /** Appends mini-transactions of that many bytes, each different unless `content` is given. */
  append(count: number, size = 64, content?: string): this {
    for (let i = 0; i < count; i += 1) {
      this.#made += 1;
      const recordSize = size - 1 - this.#nonce - 4;
      const record = Buffer.concat([recordHead(recordSize), Buffer.alloc(recordSize, content ?? `<${this.#made}>`)]);
      const records = record.subarray(0, recordSize);
      const lap = Math.floor((this.lsn + records.length - FIRST_LSN) / CAPACITY);
      const nonce = Buffer.alloc(this.#nonce, this.#made);
      const checksum = Buffer.alloc(4);
      checksum.writeUInt32BE(crc32c(nonce, crc32c(records)));
      this.write(Buffer.concat([records, Buffer.of(1 - (lap % 2)), nonce, checksum]));
    }
    return this;
  }

  write(bytes: Uint8Array): this {
    for (const byte of bytes) {
      this.file[this.offset] = byte;
      this.lsn += 1;
    }
    return this;
  }

  get offset(): number {
    return RING + ((this.lsn - FIRST_LSN) % CAPACITY);
  }

  /** Fills the rest of the block with that of an older one. */
  leaveOlder(blockSize: number, blocks: number): void {
    const rest = blockSize - (this.offset % blockSize);
    const older = this.offset - blocks * blockSize;
    this.file.copy(this.file, this.offset, older, older + rest);
  }

  read(): RedoLog {
    return readRedoLog(this.file);
  }
}

/** The first bytes of a record of that many bytes. */
function recordHead(size: number): Buffer {
  const [rest, extra] = [size - 1, size - 1 - 15];
  if (extra < 0) return Buffer.of(0x30 | rest);
  if (extra < 0x80) return Buffer.of(0x30, extra);
  const [more, evenMore] = [extra - 0x80, extra - 0x4080];
  if (evenMore < 0) return Buffer.of(0x30, 0x80 | (more >> 8), more & 255);
  return Buffer.of(0x30, 0xc0 | (evenMore >> 16), (evenMore >> 8) & 255, evenMore & 255);
}

it('the checksum of a redo log is CRC-32C, in one piece and in two', () => {
  const digits = Buffer.from('123456789');
  expect(crc32c(digits)).toBe(0xe3069283);
  expect(crc32c(digits.subarray(4), crc32c(digits.subarray(0, 4)))).toBe(0xe3069283);
});

describe.each(FORMATS)('a log %s', (_, format, nonce) => {
  it('ends after its last whole mini-transaction', () => {
    const log = new Log(format, nonce).append(200);
    const end = log.lsn;
    log.write(log.file.subarray(RING, RING + 63));
    expect(log.read()).toEqual({ encrypted: nonce > 0, checkpoint: FIRST_LSN, end, stale: undefined });
  });

  it.each([
    [512, 3],
    [4096, 2],
  ])('does not end where an older block of %d bytes goes on', (blockSize, blocks) => {
    const log = new Log(format, nonce).append(200 + 3);
    const rest = blockSize - (log.offset % blockSize);
    log.leaveOlder(blockSize, blocks);
    expect(log.read()).toEqual({
      encrypted: nonce > 0,
      checkpoint: FIRST_LSN,
      end: log.lsn + rest,
      stale: { from: log.lsn, offset: log.offset, behind: blocks * blockSize, miniTransactions: rest / 64 },
    });
  });

  it('goes on at the start of the ring, with the other bit', () => {
    const log = new Log(format, nonce, FIRST_LSN + CAPACITY - 1000).append(30, 72);
    expect(log.read()).toMatchObject({ end: log.lsn, stale: undefined });
    // A lap later the same bytes are old.
    const later = new Log(format, nonce, FIRST_LSN + 2 * CAPACITY - 1000);
    log.file.copy(later.file, RING, RING);
    expect(later.read()).toMatchObject({ end: later.lsn, stale: undefined });
  });

  it('does not end where an older block of the second lap goes on', () => {
    const log = new Log(format, nonce).append(512 + 64 + 10);
    log.checkpoint(4096, FIRST_LSN + 64 * 500);
    log.leaveOlder(4096, 1);
    const offset = RING + 4096 + 640;
    expect(log.read().stale).toEqual({ from: log.lsn, offset, behind: 4096, miniTransactions: 54 });
  });
});

it('reads records of every length', () => {
  const log = new Log().append(1, 16).append(1, 21).append(1, 300).append(1, 18_000).append(1, 20);
  expect(log.read().end).toBe(log.lsn);
});

it('ends by itself where an older block goes on in the middle of a mini-transaction', () => {
  const log = new Log().append(200).append(1, 70);
  log.leaveOlder(4096, 2);
  expect(log.read()).toMatchObject({ end: log.lsn, stale: undefined });
});

it('takes mini-transactions that are alike for old only at their place in a block', () => {
  const log = new Log().append(200).append(6, 72, 'the same');
  expect(log.read()).toMatchObject({ end: log.lsn, stale: undefined });
});

it('starts at the later checkpoint that is valid', () => {
  const log = new Log().append(20);
  log.checkpoint(8192, FIRST_LSN + 640);
  expect(log.read()).toMatchObject({ checkpoint: FIRST_LSN + 640, end: log.lsn });
  log.file[8192 + 20] = 1;
  expect(log.read()).toMatchObject({ checkpoint: FIRST_LSN, end: log.lsn });
  log.file[4096 + 20] = 1;
  expect(() => log.read()).toThrow('expected a redo log of MariaDB 10.8 or later with a valid checkpoint');
});

it.each([
  ['of another format', Buffer.alloc(RING + CAPACITY, 7)],
  ['that is cut', new Log().file.subarray(0, 600)],
])('the reader of redo logs refuses a file %s', (_, file) => {
  expect(() => readRedoLog(file)).toThrow('expected a redo log of MariaDB 10.8 or later with a valid checkpoint');
});

it('the end of a log is written to the right place, and nothing else changes', () => {
  const log = new Log().append(200);
  log.leaveOlder(4096, 1);
  const { stale } = log.read();
  const path = join(scratchDirectory(), 'ib_logfile0');
  writeFileSync(path, log.file);
  if (stale !== undefined) endRedoLog(path, stale);
  const ended = readFileSync(path);
  expect(readRedoLog(ended)).toMatchObject({ end: log.lsn, stale: undefined });
  log.file[log.offset] = 0;
  expect(ended.equals(log.file)).toBe(true);
});

it('a killed server starts with an end of its log, and what is called before that sees the log without one', async () => {
  const datadir = scratchDirectory();
  const path = join(datadir, 'ib_logfile0');
  const seen: string[] = [];
  const look = (who: string) => async () => {
    seen.push(`${who}: ${readRedoLog(readFileSync(path)).stale === undefined ? 'whole' : 'without end'}`);
  };
  const log = new Log().append(200);
  for (const older of [false, true]) {
    if (older) log.leaveOlder(4096, 1);
    writeFileSync(path, log.file);
    await startAfterKill({ datadir, start: look('start') }, look('before'));
  }
  expect(seen).toEqual(['start: whole', 'before: without end', 'start: whole']);
});
