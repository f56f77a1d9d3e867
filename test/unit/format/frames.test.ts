import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ENCRYPTION_ALGORITHMS } from '../../../src/format/encryption-algorithm.ts';
import { type Frame, FrameDecoder, MAX_FRAME_BYTES, PayloadWriter } from '../../../src/format/frames.ts';
import {
  type AgentMessage,
  COUNTERS,
  encodeAgentMessage,
  encodePluginMessage,
  MASTER_KEY_STATES,
  type PluginMessage,
  parseAgentMessage,
  parsePluginMessage,
} from '../../../src/format/messages.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { expectKeyError } from '../../support/expect-error.ts';

const id = fc.integer({ min: 1, max: 0xffff_ffff }).map(keyId);
const version = fc.integer({ min: 1, max: 0xffff_fffe }).map(keyVersion);
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const request = fc.integer({ min: 1, max: 0xffff_ffff });
const text = fc
  .string({ unit: 'grapheme', maxLength: 200 })
  .map((value) => value.toWellFormed().replace(/[\0\r\n]+/g, ' '));

const pluginMessage: fc.Arbitrary<PluginMessage> = fc.oneof(
  fc.record({
    type: fc.constant('hello' as const),
    protocol: fc.integer({ min: 0, max: 0xffff }),
    role: fc.constantFrom('server' as const, 'backup' as const),
    held: u32,
    settings: fc.array(fc.tuple(text, text), { maxLength: 8 }).map((entries) => new Map(entries)),
  }),
  fc.record({ type: fc.constant('set' as const), name: text, value: text }),
  fc.record({
    type: fc.constant('held' as const),
    names: fc.array(fc.record({ id, version }), { maxLength: 2047, size: 'max' }),
  }),
  fc.record({ type: fc.constant('load' as const), deadlineMs: u32 }),
  fc.record({ type: fc.constant('open' as const), id, mayCreate: fc.boolean(), deadlineMs: u32 }),
  fc.record({ type: fc.constant('fetch' as const), id, version, deadlineMs: u32 }),
  fc.record({ type: fc.constant('rotate' as const), id: fc.oneof(id, fc.constant('all' as const)), deadlineMs: u32 }),
  fc.record({ type: fc.constant('answer' as const), mayCreate: fc.boolean(), deadlineMs: u32 }),
);

const agentMessage: fc.Arbitrary<AgentMessage> = fc.oneof(
  fc.record({
    type: fc.constant('welcome' as const),
    protocol: fc.integer({ min: 0, max: 0xffff }),
    agentVersion: text,
  }),
  fc.record({
    type: fc.constant('key' as const),
    id,
    version,
    current: fc.boolean(),
    algorithm: fc.constantFrom(...ENCRYPTION_ALGORITHMS),
    bytes: fc
      .constantFrom(16, 24, 32)
      .chain((length) => fc.uint8Array({ minLength: length, maxLength: length }))
      .map((bytes) => Buffer.from(bytes)),
  }),
  fc.record({ type: fc.constant('done' as const), first: u32, second: u32 }),
  fc.record({ type: fc.constant('fail' as const), code: fc.constant('TIMEOUT'), message: text, hint: text }),
  fc.record({
    type: fc.constant('log' as const),
    severity: fc.constantFrom('error' as const, 'warning' as const, 'note' as const),
    text,
  }),
  fc.record({
    type: fc.constant('stats' as const),
    increases: fc.array(fc.tuple(fc.constantFrom(...COUNTERS), u32)).map((entries) => new Map(entries)),
  }),
  fc.record({ type: fc.constant('missing' as const), versions: u32 }),
  fc.record({
    type: fc.constant('masterKey' as const),
    state: fc.constantFrom(...MASTER_KEY_STATES),
    daysLeft: fc.option(fc.integer({ min: 0, max: 365 }), { nil: undefined }),
  }),
  fc.record({ type: fc.constant('question' as const), id }),
);

function decode(bytes: Uint8Array, pieces: readonly number[] = []): Frame[] {
  const decoder = new FrameDecoder();
  const frames: Frame[] = [];
  let from = 0;
  for (const length of [...pieces, bytes.length]) {
    frames.push(...decoder.feed(bytes.subarray(from, from + length)));
    from += length;
  }
  return frames;
}

describe('messages', () => {
  it('of the plugin round-trip', () => {
    fc.assert(
      fc.property(pluginMessage, request, (message, number) => {
        const sent = ['set', 'held'].includes(message.type) ? 0 : number;
        const [frame] = decode(encodePluginMessage(sent, message));
        expect(frame?.request).toBe(sent);
        expect(frame && parsePluginMessage(frame)).toEqual(message);
      }),
    );
  });

  it('of the agent round-trip', () => {
    fc.assert(
      fc.property(agentMessage, u32, (message, number) => {
        const [frame] = decode(encodeAgentMessage(number, message));
        expect(frame?.request).toBe(number);
        expect(frame && parseAgentMessage(frame)).toEqual(message);
      }),
    );
  });

  it('arrive complete from a stream cut anywhere, also into single bytes', () => {
    fc.assert(
      fc.property(
        fc.array(agentMessage, { minLength: 1, maxLength: 5 }),
        fc.array(fc.nat({ max: 9 }), { maxLength: 30 }),
        (messages, pieces) => {
          const bytes = Buffer.concat(messages.map((message) => encodeAgentMessage(0, message)));
          expect(decode(bytes, pieces).map(parseAgentMessage)).toEqual(messages);
          const single = Array.from({ length: bytes.length }, () => 1);
          expect(decode(bytes, single).map(parseAgentMessage)).toEqual(messages);
        },
      ),
    );
  });

  it('with any truncated payload are refused', async () => {
    const messages: PluginMessage[] = [
      { type: 'hello', protocol: 1, role: 'server', held: 3, settings: new Map([['a', 'b']]) },
      { type: 'held', names: [{ id: keyId(1), version: keyVersion(2) }] },
      { type: 'set', name: 'key_ids', value: '1-2' },
      { type: 'load', deadlineMs: 5 },
      { type: 'open', id: keyId(1), mayCreate: true, deadlineMs: 5 },
      { type: 'fetch', id: keyId(1), version: keyVersion(2), deadlineMs: 5 },
      { type: 'rotate', id: 'all', deadlineMs: 5 },
      { type: 'check', deadlineMs: 5 },
      { type: 'use', deadlineMs: 5 },
      { type: 'answer', mayCreate: false, deadlineMs: 5 },
    ];
    for (const message of messages) {
      const number = ['set', 'held'].includes(message.type) ? 0 : 1;
      const [frame] = decode(encodePluginMessage(number, message));
      if (frame === undefined) throw new Error('no frame');
      for (let length = 0; length < frame.payload.length; length += 1) {
        await expectKeyError(
          () => parsePluginMessage({ ...frame, payload: frame.payload.subarray(0, length) }),
          'PROTOCOL',
          /expected \d+ more bytes, got \d+$/,
        );
      }
      await expectKeyError(
        () => parsePluginMessage({ ...frame, payload: Buffer.concat([frame.payload, Buffer.of(0)]) }),
        'PROTOCOL',
        /1 bytes too many$/,
      );
    }
  });

  it.each([
    ['an unknown type', { type: 0x7f, request: 1, payload: Buffer.alloc(0) }, /frame type 0x7f is unknown$/],
    [
      'a request that wants no answer',
      { type: 0x03, request: 0, payload: Buffer.alloc(4) },
      /load: request number 0 is not allowed$/,
    ],
    [
      'a SET that wants one',
      { type: 0x02, request: 9, payload: Buffer.from([0, 1, 65, 0, 0]) },
      /set: request number 9 is not allowed$/,
    ],
    [
      'an answer that is neither yes nor no',
      { type: 0x0a, request: 1, payload: Buffer.from([2, 0, 0, 0, 1]) },
      /may create: expected 0 or 1, got 2$/,
    ],
    ['key id 0', { type: 0x04, request: 1, payload: Buffer.alloc(8) }, /key id 0 is not allowed$/],
    [
      'version 4294967295',
      { type: 0x05, request: 1, payload: Buffer.from([0, 0, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0]) },
      /key version 4294967295 is not allowed$/,
    ],
    ['role 3', { type: 0x01, request: 1, payload: Buffer.from([0, 1, 3, 0, 0]) }, /role 3 is unknown$/],
    [
      'a setting twice',
      { type: 0x01, request: 1, payload: Buffer.from([0, 1, 1, 0, 0, 0, 0, 0, 2, 0, 1, 65, 0, 0, 0, 1, 65, 0, 0]) },
      /setting A comes twice$/,
    ],
    [
      'text that is not UTF-8',
      { type: 0x02, request: 0, payload: Buffer.from([0, 1, 0xff, 0, 0]) },
      /a string is not UTF-8$/,
    ],
    ['text with NUL', { type: 0x02, request: 0, payload: Buffer.from([0, 1, 0, 0, 0]) }, /a string holds NUL$/],
  ])('with %s are refused', async (_, frame, message) => {
    await expectKeyError(() => parsePluginMessage(frame), 'PROTOCOL', message);
  });

  it('have long texts cut at a character', () => {
    const [frame] = decode(encodeAgentMessage(0, { type: 'log', severity: 'note', text: `x${'ä'.repeat(4000)}` }));
    const message = frame && parseAgentMessage(frame);
    expect(message).toEqual({ type: 'log', severity: 'note', text: `x${'ä'.repeat(2047)}` });
  });
});

describe('the frame decoder', () => {
  it.each([0, 4, MAX_FRAME_BYTES + 1, 0xffff_ffff])('refuses a length of %d at once', async (length) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(length);
    await expectKeyError(
      () => new FrameDecoder().feed(bytes),
      'PROTOCOL',
      `frame length expected 5 to 16384, got ${length}`,
    );
  });

  it('accepts the longest frame and refuses to write a longer one', async () => {
    const payload = Buffer.alloc(MAX_FRAME_BYTES - 5, 7);
    expect(decode(new PayloadWriter().bytes(payload).toFrame(1, 2))).toEqual([{ type: 1, request: 2, payload }]);
    await expectKeyError(
      () => new PayloadWriter().bytes(Buffer.alloc(MAX_FRAME_BYTES - 4)).toFrame(1, 2),
      'INTERNAL',
      'frame 0x1: expected at most 16384 bytes, got 16385',
    );
  });

  it('knows whether a stream ends inside a frame or between two', () => {
    const decoder = new FrameDecoder();
    const bytes = new PayloadWriter().bytes(Buffer.from('abc')).toFrame(1, 2);
    decoder.feed(bytes.subarray(0, 6));
    expect(decoder.isInsideFrame).toBe(true);
    decoder.feed(bytes.subarray(6));
    expect(decoder.isInsideFrame).toBe(false);
  });

  it('survives any bytes with an answer or a PROTOCOL error', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), async (bytes) => {
        try {
          decode(bytes).forEach(parsePluginMessage);
        } catch (error) {
          await expectKeyError(() => Promise.reject(error), 'PROTOCOL', /./);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
