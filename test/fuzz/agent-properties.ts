/** Properties that the agent keeps for any input: run for a moment by the unit tests, for longer by `npm run fuzz`. */
import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { recordedTraffic } from '../../harness/traffic.ts';
import { Session } from '../../src/agent/session.ts';
import { KeyError, toKeyError } from '../../src/errors.ts';
import { parseEncryptionContext } from '../../src/format/encryption-context.ts';
import { parseFailoverRegions } from '../../src/format/failover-regions.ts';
import { type Frame, FrameDecoder, MAX_FRAME_BYTES } from '../../src/format/frames.ts';
import { keyFileName, parseFileName, sidecarFileName, TEMPORARY_PREFIX } from '../../src/format/key-file-name.ts';
import {
  encodePluginMessage,
  type PluginMessage,
  parseAgentMessage,
  parsePluginMessage,
} from '../../src/format/messages.ts';
import { formatSidecar, parseSidecar } from '../../src/format/sidecar.ts';
import { keyId, keyVersion, parseKeyIdSet } from '../../src/ids.ts';
import { parseSettings } from '../../src/keyring/settings.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { MemoryFs } from '../support/memory-fs.ts';
import { MASTER_KEY_ARN, ScriptedKms } from '../support/scripted-kms.ts';

const traffic = recordedTraffic().map(({ bytes }) => bytes);
const asked = recordedTraffic()
  .filter(({ from }) => from === 'plugin')
  .map(({ bytes }) => bytes);

/** Seeds with a few random changes: a byte changed, a piece cut out, a piece inserted. */
function spoilt(seeds: readonly Buffer[]): fc.Arbitrary<Buffer> {
  const change = fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 0xffff }), fc.uint8Array({ minLength: 1, maxLength: 8 }));
  return fc
    .tuple(fc.array(fc.constantFrom(...seeds), { minLength: 1, maxLength: 6 }), fc.array(change, { maxLength: 4 }))
    .map(([parts, changes]) => {
      let bytes = Buffer.concat(parts);
      for (const [how, where, piece] of changes) {
        const at = where % (bytes.length + 1);
        const rest = how === 2 ? at : at + piece.length;
        bytes = Buffer.concat([bytes.subarray(0, at), how === 1 ? Buffer.alloc(0) : piece, bytes.subarray(rest)]);
      }
      return bytes;
    });
}

const stream = fc.oneof(
  { weight: 4, arbitrary: spoilt(traffic) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)) },
);

/** A refusal is a KeyError with one of the codes; anything else is a defect. */
function refused<T>(parse: () => T, ...codes: KeyError['code'][]): T | undefined {
  try {
    return parse();
  } catch (thrown) {
    if (thrown instanceof KeyError && codes.includes(thrown.code)) return undefined;
    throw thrown;
  }
}

function frames(bytes: Buffer, piece: number): Frame[] | undefined {
  const decoder = new FrameDecoder();
  const found: Frame[] = [];
  for (let at = 0; at < bytes.length; at += piece) {
    const more = refused(() => decoder.feed(bytes.subarray(at, at + piece)), 'PROTOCOL');
    if (more === undefined) return undefined;
    found.push(...more);
  }
  return found;
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Line breaks in texts are read, but written as spaces. */
function asWritten(message: PluginMessage): PluginMessage {
  if (message.type !== 'set') return message;
  const oneLine = (text: string): string => text.replace(/[\r\n]+/g, ' ');
  return { ...message, name: oneLine(message.name), value: oneLine(message.value) };
}

const decoding = fc.property(stream, fc.integer({ min: 1, max: 40 }), (bytes, piece) => {
  const whole = frames(bytes, MAX_FRAME_BYTES);
  if (!same(whole, frames(bytes, piece))) throw new Error('a stream means another thing in other pieces');
  for (const frame of whole ?? []) {
    const message = refused(() => parsePluginMessage(frame), 'PROTOCOL');
    refused(() => parseAgentMessage(frame), 'PROTOCOL');
    if (message === undefined) continue;
    const [again] = new FrameDecoder().feed(encodePluginMessage(frame.request, message));
    if (again === undefined || !same(parsePluginMessage(again), asWritten(message)))
      throw new Error('a message does not round-trip');
    if (message.type === 'hello') refused(() => parseSettings(message.settings), 'PROTOCOL', 'BAD_OPTION');
  }
});

const name = { id: keyId(3), version: keyVersion(2) };
const sidecar = formatSidecar(name, {
  masterKeyArn: MASTER_KEY_ARN,
  keySpec: 'AES_256',
  created: '2026-01-01T00:00:00.000Z',
  wrappedSha256: '0'.repeat(64),
  requestId: '7a3c0c1e',
  encryptionContext: { cluster: 'a', 'mariadb-aws-kms:key-id': '3', 'mariadb-aws-kms:key-version': '2' },
  keyCheckValue: '0123456789abcdef',
});
const texts = [
  sidecar,
  keyFileName(name),
  sidecarFileName(name),
  '1-2,100-199',
  'cluster=orders,environment=production',
  'eu-west-1,eu-central-1=https://kms.example:8443',
].map((text) => Buffer.from(text));

/** Names and texts from people or other programs: key files, sidecars, variables. */
const parsing = fc.property(spoilt(texts), (bytes) => {
  const text = bytes.toString('utf8');
  const file = parseFileName(text);
  if (file.kind === 'wrapped-key' && keyFileName(file.name) !== text) throw new Error('a key file has two names');
  if (file.kind === 'sidecar' && sidecarFileName(file.name) !== text) throw new Error('a sidecar has two names');
  const known = refused(() => parseSidecar(name, text), 'KEY_FILE_CORRUPT', 'KEY_FILE_SWAPPED');
  if (known !== undefined && !same(parseSidecar(name, formatSidecar(name, known)), known))
    throw new Error('a sidecar does not round-trip');
  refused(() => parseEncryptionContext(text), 'BAD_OPTION');
  refused(() => parseKeyIdSet(text), 'BAD_OPTION');
  refused(() => parseFailoverRegions(text), 'BAD_OPTION');
});

/** A session ends with its stream, fails with nothing worse than a protocol error, and leaves nothing half done. */
const session = fc.asyncProperty(spoilt(asked), async (bytes) => {
  const decoder = new FrameDecoder();
  const stream = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      for (const frame of decoder.feed(chunk)) parseAgentMessage(frame);
      done();
    },
  });
  const fileSystem = new MemoryFs();
  const clock = new FakeClock();
  const running = new Session(stream, {
    agentVersion: '0',
    clock,
    random: () => 0,
    fileSystem,
    connectKms: async () => [new ScriptedKms()],
    overrideSettings: (settings) => ({ ...settings, keyfileDir: '/keys' }),
    redact: (text) => text,
    idleTimeoutMs: undefined,
  }).run();
  const ended = running.then(
    () => undefined,
    (thrown: unknown) => toKeyError(thrown),
  );
  stream.push(bytes);
  await clock.settle();
  stream.push(null);
  const error = await ended;
  if (error !== undefined && error.code !== 'PROTOCOL') throw error;
  if (clock.pendingTimers > 0) throw new Error('a session that has ended still waits for something');
  const left = [...fileSystem.files.keys()].filter((path) => path.includes(TEMPORARY_PREFIX));
  if (left.length > 0) throw new Error(`a session that has ended left ${left.join(', ')}`);
});

export const AGENT_PROPERTIES = { decoding, parsing, session } as const;
