import { KeyError } from '../errors.ts';
import { isKeyId, isKeyVersion, type KeyId, type KeyVersion } from '../ids.ts';
import { ENCRYPTION_ALGORITHMS, type EncryptionAlgorithm } from './encryption-algorithm.ts';
import { type Frame, PayloadReader, PayloadWriter } from './frames.ts';
import type { KeyName } from './key-file-name.ts';
import { nameOfWire, wireNameOf } from './settings.ts';

/** The message layer of docs/protocol.md. Plugin and agent each speak this version and the one before it. */
export const PROTOCOL_VERSION = 2;
export const OLDEST_PROTOCOL_VERSION = 1;
/** The most key versions that a plugin may name in HELD frames: more than a key directory ever has. */
export const MOST_HELD = 1_000_000;

const TYPE = {
  hello: 0x01,
  set: 0x02,
  load: 0x03,
  open: 0x04,
  fetch: 0x05,
  rotate: 0x06,
  check: 0x07,
  held: 0x08,
  use: 0x09,
  answer: 0x0a,
  welcome: 0x81,
  key: 0x82,
  done: 0x83,
  fail: 0x84,
  log: 0x85,
  stats: 0x86,
  missing: 0x87,
  masterKey: 0x88,
  question: 0x89,
} as const;

export type Role = 'server' | 'backup';
export type Severity = 'error' | 'warning' | 'note';

/** Counters of STATS; the number in the protocol is the index plus one. */
export const COUNTERS = [
  'generateCalls',
  'decryptCalls',
  'operatorErrors',
  'transientErrors',
  'corruptErrors',
  'otherErrors',
  'rotations',
  'keysCreated',
] as const;
export type Counter = (typeof COUNTERS)[number];

/** Messages from the plugin. Durations are milliseconds. */
export type PluginMessage =
  | {
      readonly type: 'hello';
      readonly protocol: number;
      readonly role: Role;
      /** The number of key versions that the plugin has. From protocol 2 on HELD names them. */
      readonly held: number;
      readonly settings: ReadonlyMap<string, string>;
    }
  | { readonly type: 'held'; readonly names: readonly KeyName[] }
  | { readonly type: 'set'; readonly name: string; readonly value: string }
  | { readonly type: 'load'; readonly deadlineMs: number }
  /** `mayCreate`: a key may be made without a question. */
  | { readonly type: 'open'; readonly id: KeyId; readonly mayCreate: boolean; readonly deadlineMs: number }
  | { readonly type: 'fetch'; readonly id: KeyId; readonly version: KeyVersion; readonly deadlineMs: number }
  | { readonly type: 'rotate'; readonly id: KeyId | 'all'; readonly deadlineMs: number }
  | { readonly type: 'check'; readonly deadlineMs: number }
  /** Since protocol 2. */
  | { readonly type: 'use'; readonly deadlineMs: number }
  /** Answers QUESTION, under the number of its OPEN, which has that time from now on. Since protocol 2. */
  | { readonly type: 'answer'; readonly mayCreate: boolean; readonly deadlineMs: number };

/** Messages from the agent. */
export type AgentMessage =
  | { readonly type: 'welcome'; readonly protocol: number; readonly agentVersion: string }
  | {
      readonly type: 'key';
      readonly id: KeyId;
      readonly version: KeyVersion;
      readonly current: boolean;
      readonly algorithm: EncryptionAlgorithm;
      readonly bytes: Uint8Array;
    }
  | { readonly type: 'done'; readonly first: number; readonly second: number }
  | { readonly type: 'fail'; readonly code: string; readonly message: string; readonly hint: string }
  | { readonly type: 'log'; readonly severity: Severity; readonly text: string }
  | { readonly type: 'stats'; readonly increases: ReadonlyMap<Counter, number> }
  | { readonly type: 'missing'; readonly versions: number }
  | {
      readonly type: 'masterKey';
      readonly state: MasterKeyState;
      /** Days until the deletion; undefined: none is scheduled, or its date is not known. */
      readonly daysLeft: number | undefined;
    }
  /** Whether OPEN, whose number it has, may create the key. Since protocol 2. */
  | { readonly type: 'question'; readonly id: KeyId };

/** The worst state of the master keys, from good to bad; the number in the protocol is the index plus one. */
export const MASTER_KEY_STATES = ['usable', 'unknown', 'disabled', 'pending deletion', 'deleted'] as const;
export type MasterKeyState = (typeof MASTER_KEY_STATES)[number];
const NO_DAYS = 0xffff_ffff;

const SEVERITIES: readonly Severity[] = ['error', 'warning', 'note'];

/** @throws KeyError PROTOCOL */
export function parsePluginMessage(frame: Frame): PluginMessage {
  const reader = new PayloadReader(`frame 0x${frame.type.toString(16)}`, frame.payload);
  const message = readPluginMessage(frame.type, reader);
  reader.end();
  if ((frame.request === 0) !== isUnanswered(message)) {
    throw new KeyError('PROTOCOL', `${message.type}: request number ${frame.request} is not allowed`);
  }
  return message;
}

function isUnanswered({ type }: PluginMessage): boolean {
  return type === 'set' || type === 'held';
}

function readPluginMessage(type: number, reader: PayloadReader): PluginMessage {
  switch (type) {
    case TYPE.hello:
      return {
        type: 'hello',
        protocol: reader.u16(),
        role: readRole(reader),
        held: reader.u32(),
        settings: readSettings(reader),
      };
    case TYPE.held:
      return { type: 'held', names: Array.from({ length: reader.u16() }, () => readKeyName(reader)) };
    case TYPE.set:
      return { type: 'set', name: nameOfWire(reader.str()), value: reader.str() };
    case TYPE.load:
      return { type: 'load', deadlineMs: reader.u32() };
    case TYPE.open:
      return { type: 'open', id: readKeyId(reader), mayCreate: readFlag(reader), deadlineMs: reader.u32() };
    case TYPE.fetch:
      return { type: 'fetch', id: readKeyId(reader), version: readKeyVersion(reader), deadlineMs: reader.u32() };
    case TYPE.rotate: {
      const id = reader.u32();
      return { type: 'rotate', id: isKeyId(id) ? id : 'all', deadlineMs: reader.u32() };
    }
    case TYPE.check:
      return { type: 'check', deadlineMs: reader.u32() };
    case TYPE.use:
      return { type: 'use', deadlineMs: reader.u32() };
    case TYPE.answer:
      return { type: 'answer', mayCreate: readFlag(reader), deadlineMs: reader.u32() };
    default:
      throw new KeyError('PROTOCOL', `frame type 0x${type.toString(16)} is unknown`);
  }
}

function readFlag(reader: PayloadReader): boolean {
  const flag = reader.u8();
  if (flag > 1) throw new KeyError('PROTOCOL', `may create: expected 0 or 1, got ${flag}`);
  return flag === 1;
}

function readRole(reader: PayloadReader): Role {
  const role = reader.u8();
  if (role !== 1 && role !== 2) throw new KeyError('PROTOCOL', `hello: role ${role} is unknown`);
  return role === 1 ? 'server' : 'backup';
}

function readSettings(reader: PayloadReader): Map<string, string> {
  const count = reader.u16();
  const settings = new Map<string, string>();
  for (let i = 0; i < count; i += 1) {
    const name = nameOfWire(reader.str());
    if (settings.has(name)) throw new KeyError('PROTOCOL', `hello: setting ${name} comes twice`);
    settings.set(name, reader.str());
  }
  return settings;
}

function readKeyName(reader: PayloadReader): KeyName {
  return { id: readKeyId(reader), version: readKeyVersion(reader) };
}

function readKeyId(reader: PayloadReader): KeyId {
  const id = reader.u32();
  if (!isKeyId(id)) throw new KeyError('PROTOCOL', `key id ${id} is not allowed`);
  return id;
}

function readKeyVersion(reader: PayloadReader): KeyVersion {
  const version = reader.u32();
  if (!isKeyVersion(version)) throw new KeyError('PROTOCOL', `key version ${version} is not allowed`);
  return version;
}

/** Encodes one frame. For `key` it holds the data key: the caller wipes it once written. */
export function encodeAgentMessage(request: number, message: AgentMessage): Buffer {
  const writer = new PayloadWriter();
  writeAgentMessage(message, writer);
  return writer.toFrame(TYPE[message.type], request);
}

function writeAgentMessage(message: AgentMessage, writer: PayloadWriter): void {
  switch (message.type) {
    case 'welcome':
      writer.u16(message.protocol).str(message.agentVersion);
      return;
    case 'key':
      writer
        .u32(message.id)
        .u32(message.version)
        .u8(message.current ? 1 : 0)
        .u8(ENCRYPTION_ALGORITHMS.indexOf(message.algorithm) + 1);
      writer.u8(message.bytes.length).bytes(message.bytes);
      return;
    case 'done':
      writer.u32(message.first).u32(message.second);
      return;
    case 'fail':
      writer.str(message.code, 64).str(message.message).str(message.hint);
      return;
    case 'log':
      writer.u8(SEVERITIES.indexOf(message.severity) + 1).str(message.text);
      return;
    case 'stats':
      writer.u8(message.increases.size);
      for (const [counter, increase] of message.increases) writer.u8(COUNTERS.indexOf(counter) + 1).u32(increase);
      return;
    case 'missing':
      writer.u32(message.versions);
      return;
    case 'masterKey':
      writer.u8(MASTER_KEY_STATES.indexOf(message.state) + 1).u32(message.daysLeft ?? NO_DAYS);
      return;
    case 'question':
      writer.u32(message.id);
      return;
  }
}

/** Encodes messages of the plugin, for tools and tests that speak to an agent. */
export function encodePluginMessage(request: number, message: PluginMessage): Buffer {
  const writer = new PayloadWriter();
  switch (message.type) {
    case 'hello':
      writer
        .u16(message.protocol)
        .u8(message.role === 'server' ? 1 : 2)
        .u32(message.held)
        .u16(message.settings.size);
      for (const [name, value] of message.settings) writer.str(wireNameOf(name)).str(value);
      break;
    case 'held':
      writer.u16(message.names.length);
      for (const { id, version } of message.names) writer.u32(id).u32(version);
      break;
    case 'set':
      writer.str(wireNameOf(message.name)).str(message.value);
      break;
    case 'load':
      writer.u32(message.deadlineMs);
      break;
    case 'open':
      writer
        .u32(message.id)
        .u8(message.mayCreate ? 1 : 0)
        .u32(message.deadlineMs);
      break;
    case 'fetch':
      writer.u32(message.id).u32(message.version).u32(message.deadlineMs);
      break;
    case 'check':
    case 'use':
      writer.u32(message.deadlineMs);
      break;
    case 'answer':
      writer.u8(message.mayCreate ? 1 : 0).u32(message.deadlineMs);
      break;
    case 'rotate':
      writer.u32(message.id === 'all' ? 0 : message.id).u32(message.deadlineMs);
      break;
  }
  return writer.toFrame(TYPE[message.type], request);
}

/** @throws KeyError PROTOCOL */
export function parseAgentMessage(frame: Frame): AgentMessage {
  const reader = new PayloadReader(`frame 0x${frame.type.toString(16)}`, frame.payload);
  const message = readAgentMessage(frame.type, reader);
  reader.end();
  return message;
}

function readAgentMessage(type: number, reader: PayloadReader): AgentMessage {
  switch (type) {
    case TYPE.welcome:
      return { type: 'welcome', protocol: reader.u16(), agentVersion: reader.str() };
    case TYPE.key: {
      const id = readKeyId(reader);
      const version = readKeyVersion(reader);
      const current = reader.u8() === 1;
      const algorithm = ENCRYPTION_ALGORITHMS[reader.u8() - 1];
      if (algorithm === undefined) throw new KeyError('PROTOCOL', 'key: algorithm is unknown');
      return { type: 'key', id, version, current, algorithm, bytes: reader.bytes(reader.u8()) };
    }
    case TYPE.done:
      return { type: 'done', first: reader.u32(), second: reader.u32() };
    case TYPE.fail:
      return { type: 'fail', code: reader.str(), message: reader.str(), hint: reader.str() };
    case TYPE.log: {
      const severity = SEVERITIES[reader.u8() - 1];
      if (severity === undefined) throw new KeyError('PROTOCOL', 'log: severity is unknown');
      return { type: 'log', severity, text: reader.str() };
    }
    case TYPE.stats: {
      const increases = new Map<Counter, number>();
      for (let count = reader.u8(); count > 0; count -= 1) {
        const counter = COUNTERS[reader.u8() - 1];
        const increase = reader.u32();
        if (counter !== undefined) increases.set(counter, increase);
      }
      return { type: 'stats', increases };
    }
    case TYPE.missing:
      return { type: 'missing', versions: reader.u32() };
    case TYPE.masterKey: {
      const state = MASTER_KEY_STATES[reader.u8() - 1];
      const days = reader.u32();
      if (state === undefined) throw new KeyError('PROTOCOL', 'master key: state is unknown');
      return { type: 'masterKey', state, daysLeft: days === NO_DAYS ? undefined : days };
    }
    case TYPE.question:
      return { type: 'question', id: readKeyId(reader) };
    default:
      throw new KeyError('PROTOCOL', `frame type 0x${type.toString(16)} is unknown`);
  }
}
