/** Binary and relay logs of real servers: test/vectors/logs. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type DecryptedLog, decryptLog, type LogInput } from '../../../src/decrypt/binlog.ts';
import type { DataKeys } from '../../../src/decrypt/data-keys.ts';
import type { ErrorCode } from '../../../src/errors.ts';
import { EVENT_LENGTH, START_ENCRYPTION, TYPE } from '../../../src/format/binary-log-event.ts';
import { ENCRYPTION_ALGORITHMS } from '../../../src/format/encryption-algorithm.ts';
import { expectKeyError } from '../../support/expect-error.ts';

const VECTORS = join(import.meta.dirname, '../../vectors/logs');
const LOGS = readdirSync(VECTORS).filter((name) => name !== 'README.md');
const NEVER = new AbortController().signal;
const DESCRIPTION_LENGTH = 252;

/** The key file does not say which algorithm its keys are for. */
function keysOf(value: number): Pick<DataKeys, 'candidates' | 'place'> {
  const bytes = Buffer.alloc(16, value);
  return {
    place: 'keys.txt',
    candidates: async (id, version) =>
      id === 1 && version === 1 ? ENCRYPTION_ALGORITHMS.map((algorithm) => ({ bytes, algorithm })) : [],
  };
}

function inputOf(bytes: Buffer, most = 2 ** 30): LogInput {
  let at = 0;
  return {
    name: 'binlog.000007',
    read: async (into) => {
      const got = bytes.copy(into, 0, at, Math.min(at + most, bytes.length));
      at += got;
      return got;
    },
  };
}

async function decrypt(bytes: Buffer, keys = keysOf(1), most?: number) {
  const parts: Buffer[] = [];
  let problem: unknown;
  let log: DecryptedLog | undefined;
  try {
    log = await decryptLog(inputOf(bytes, most), keys, async (part) => void parts.push(Buffer.from(part)), NEVER);
  } catch (error) {
    problem = error;
  }
  return { log, problem, copy: Buffer.concat(parts) };
}

async function expectProblem(problem: unknown, code: ErrorCode, message: string | RegExp, hint = ''): Promise<void> {
  expect(await expectKeyError(Promise.reject(problem), code, message)).toMatchObject({ hint });
}

const vector = (name: string): Buffer => readFileSync(join(VECTORS, name));

/** Returns the offset of each event. */
function events(bytes: Buffer): number[] {
  const offsets: number[] = [];
  for (let at = 4; at < bytes.length; at += bytes.readUInt32LE(at + EVENT_LENGTH)) offsets.push(at);
  return offsets;
}

it.each(LOGS)('%s is decrypted, and every event stays where it was', async (name) => {
  const bytes = vector(name);
  const { log, copy } = await decrypt(bytes);
  expect(log).toEqual({
    events: events(bytes).length,
    version: 1,
    algorithm: name.endsWith('-ctr') ? 'AES_CTR' : 'AES_CBC',
    unfinished: undefined,
    damaged: [],
    damagedEvents: 0,
  });
  expect(events(copy)).toEqual(events(bytes));
  expect(copy.includes('INSERT INTO d.t')).toBe(true);
  expect(events(copy).map((at) => copy[at + TYPE])).not.toContain(START_ENCRYPTION);
});

it.each(LOGS)('%s decrypted once more is the same: it is in clear', async (name) => {
  const { copy } = await decrypt(vector(name));
  const again = await decrypt(copy);
  expect(again.copy).toEqual(copy);
  expect(again.log).toMatchObject({ version: undefined, algorithm: undefined, damaged: [] });
});

it.each([1, 7, 300])('reads of %i bytes give the same copy', async (most) => {
  const bytes = vector('checksums-cbc');
  expect((await decrypt(bytes, keysOf(1), most)).copy).toEqual((await decrypt(bytes)).copy);
});

it.each(['checksums-cbc', 'no-checksums-ctr'])(
  '%s, cut anywhere, gives the whole events before the cut',
  async (name) => {
    const bytes = vector(name);
    const { copy } = await decrypt(bytes);
    for (let end = 4; end < bytes.length; end += 1) {
      const cut = await decrypt(bytes.subarray(0, end));
      const whole = events(bytes).findLast((at) => at <= end) ?? 4;
      expect(cut.copy).toEqual(copy.subarray(0, whole));
      expect(cut.log?.unfinished).toEqual(whole === end ? undefined : { position: whole, bytes: end - whole });
    }
  },
);

it('zeros after the last event are its unfinished end', async () => {
  const bytes = vector('checksums-cbc');
  const { log, copy } = await decrypt(Buffer.concat([bytes, Buffer.alloc(200_000)]));
  expect(log?.unfinished).toEqual({ position: bytes.length, bytes: 200_000 });
  expect(copy.length).toBe(bytes.length);
});

it('zeros before other bytes are damage', async () => {
  const bytes = vector('checksums-cbc');
  const { problem } = await decrypt(Buffer.concat([bytes, Buffer.alloc(200_000), Buffer.from('x')]));
  await expectProblem(problem, 'DATA_UNREADABLE', 'binlog.000007: the event at 903 is damaged: it has no length');
});

it.each([['checksums-cbc'], ['checksums-ctr']])(
  'a damaged event of %s is named, and those before it are written',
  async (name) => {
    const bytes = vector(name);
    const { copy } = await decrypt(bytes);
    for (const at of events(bytes).slice(3)) {
      const spoiled = Buffer.from(bytes);
      const end = at + bytes.readUInt32LE(at + EVENT_LENGTH) - 1;
      spoiled[end] = (spoiled[end] ?? 0) ^ 1;
      const result = await decrypt(spoiled);
      const type = copy[at + TYPE] ?? 0;
      await expectProblem(
        result.problem,
        'DATA_UNREADABLE',
        new RegExp(
          `^binlog\\.000007: the event at ${at} \\(\\w+ type ${type}, ${end + 1 - at} bytes, key 1 version 1\\) is damaged: its checksum is wrong$`,
        ),
      );
      expect(result.copy).toEqual(copy.subarray(0, at));
    }
  },
);

it('without an output, all damaged events are found', async () => {
  const bytes = vector('checksums-cbc');
  const offsets = events(bytes).slice(-3);
  for (const at of offsets) bytes[at + 20] = (bytes[at + 20] ?? 0) ^ 1;
  const log = await decryptLog(inputOf(bytes), keysOf(1), undefined, NEVER);
  expect(log.damaged.map(({ position }) => position)).toEqual(offsets);
});

it.each([0, 18, 2 ** 31])('an event cannot have a length of %i bytes', async (length) => {
  const bytes = vector('checksums-cbc');
  const at = events(bytes).at(-2) ?? 0;
  bytes.writeUInt32LE(length, at + EVENT_LENGTH);
  const { problem, copy } = await decrypt(bytes);
  await expectProblem(
    problem,
    'DATA_UNREADABLE',
    `binlog.000007: the event at ${at} is damaged: a length of ${length} bytes`,
  );
  expect(copy.length).toBe(at);
});

it.each(LOGS)('%s does not end at an event whose length is damaged', async (name) => {
  const bytes = vector(name);
  const { copy } = await decrypt(bytes);
  for (const at of events(bytes).slice(1)) {
    const spoiled = Buffer.from(bytes);
    spoiled.writeUInt32LE(0x100000, at + EVENT_LENGTH);
    const result = await decrypt(spoiled);
    const text = `the event at ${at} is damaged: its header contradicts its length of 1048576 bytes`;
    await expectProblem(result.problem, 'DATA_UNREADABLE', `binlog.000007: ${text}`);
    expect(result.copy).toEqual(copy.subarray(0, result.copy.length));
    const checked = await decryptLog(inputOf(spoiled), keysOf(1), undefined, NEVER);
    expect(checked.damaged).toEqual([{ position: at, text }]);
  }
});

it.each(['checksums-cbc', 'relay-no-checksums-ctr'])(
  '%s with a damaged length is not read to its end',
  async (name) => {
    const bytes = vector(name);
    const at = events(bytes).at(-2) ?? 0;
    bytes.writeUInt32LE(0x3f000000, at + EVENT_LENGTH);
    let got = 0;
    const endless: LogInput = {
      name: 'binlog.000007',
      read: async (into) => {
        const length = got === 0 ? bytes.copy(into) : into.fill('x').length;
        got += length;
        return length;
      },
    };
    const { damaged } = await decryptLog(endless, keysOf(1), undefined, NEVER);
    expect(damaged.map(({ position }) => position)).toEqual([at]);
    expect(got).toBeLessThan(2 ** 18);
  },
);

it.each([
  ['checksums-cbc', 2],
  ['no-checksums-cbc', 2],
  ['relay-no-checksums-ctr', 2],
])('%s does not decrypt with another key', async (name, value) => {
  const { problem, copy } = await decrypt(vector(name), keysOf(value));
  await expectProblem(
    problem,
    'DATA_UNREADABLE',
    /^binlog\.000007: the events from \d+ on do not decrypt with key 1 version 1$/,
    'the log is damaged there, or keys.txt has another key than the server that wrote it',
  );
  expect(copy.length).toBe(0);
});

it('a key version that the source does not have is named', async () => {
  const bytes = vector('checksums-cbc');
  bytes.writeUInt32LE(9, 4 + DESCRIPTION_LENGTH + 20);
  const { problem } = await decrypt(bytes, { ...keysOf(1), candidates: async () => [] });
  await expectProblem(problem, 'DATA_UNREADABLE', /^binlog\.000007: the event at 256 \(Start_encryption type 164/);
  const other = await decrypt(vector('checksums-cbc'), { ...keysOf(1), candidates: async () => [] });
  await expectProblem(other.problem, 'KEY_UNKNOWN', 'binlog.000007: key 1 version 1: keys.txt has no such key');
});

it.each([
  ['an empty file', Buffer.alloc(0)],
  ['three bytes', Buffer.from('fe6269', 'hex')],
  ['another file', Buffer.from('# a text, which is no log')],
])('%s is no log', async (_, bytes) => {
  const { problem } = await decrypt(bytes);
  await expectProblem(problem, 'DATA_UNREADABLE', 'binlog.000007: it is no binary log');
});

it('an event longer than what is read at once is decrypted', async () => {
  const bytes = vector('no-checksums-cbc');
  const clear = (await decrypt(bytes)).copy;
  const long = Buffer.alloc(300_000, 'x');
  clear.copy(long, 0, events(clear).at(-1));
  long[TYPE] = 2;
  long.writeUInt32LE(long.length, EVENT_LENGTH);
  long.writeUInt32LE(clear.length + long.length, 13);
  const log = Buffer.concat([clear, long]);
  const result = await decrypt(log, keysOf(1), 4096);
  expect(result.problem).toBe(undefined);
  expect(result.copy.equals(log)).toBe(true);
});

it('work that was interrupted ends', async () => {
  const interrupted = AbortSignal.abort(new Error('interrupted'));
  await expect(decryptLog(inputOf(vector('checksums-cbc')), keysOf(1), undefined, interrupted)).rejects.toThrow(
    'interrupted',
  );
});

it('a log with a piece missing is checked to its end, and names the first of its damaged events', async () => {
  const bytes = vector('checksums-cbc');
  const offsets = events(bytes);
  const last = bytes.subarray(offsets.at(-1));
  const moved = Buffer.concat([bytes, ...Array.from({ length: 1_500 }, () => last)]);
  const log = await decryptLog(inputOf(moved), keysOf(1), undefined, NEVER);
  expect(log.events).toBe(offsets.length + 1_500);
  expect(log.damagedEvents).toBe(1_500);
  expect(log.damaged.length).toBe(1_000);
  expect(log.damaged[0]?.position).toBe(bytes.length);
});
