/** Recorded frames between a real plugin and a real agent, and the fuzzers' seeds made from them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FrameDecoder } from '../src/format/frames.ts';
import { OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, parsePluginMessage } from '../src/format/messages.ts';

/** One frame of a conversation between a real plugin and a real agent. */
export interface Recorded {
  readonly from: 'plugin' | 'agent';
  readonly bytes: Buffer;
}

/** Conversation file of a protocol version: a line "plugin HEX" or "agent HEX" for each frame, in the order seen. */
export function conversationFile(protocol: number): string {
  return join(import.meta.dirname, `../test/vectors/protocol-${protocol}/session.txt`);
}

/** Conversation that harness/record-traffic.ts recorded when the protocol version was the latest. */
export function conversationOf(protocol: number): Recorded[] {
  return readFileSync(conversationFile(protocol), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [from = '', hex = ''] = line.split(' ');
      return { from: from === 'plugin' ? 'plugin' : 'agent', bytes: Buffer.from(hex, 'hex') };
    });
}

/** Conversations of every version spoken. */
export function recordedTraffic(): Recorded[] {
  return [...conversationOf(OLDEST_PROTOCOL_VERSION), ...conversationOf(PROTOCOL_VERSION)];
}

/** Steps of plugin/fuzz/client_fuzz.c. */
const STEP = {
  load: 0x80,
  open: 0x81,
  fetch: 0x82,
  rotate: 0x83,
  check: 0x84,
  set: 0x85,
  close: 0x86,
  look: 0x89,
  use: 0x8a,
} as const;
const MOST_BYTES_AT_ONCE = 127;

/** Seeds of the plugin's fuzzers: what callers asked and the agent answered as a script, and the agent's bytes alone. */
export function pluginSeeds(): Record<'client' | 'frame', Buffer[]> {
  const traffic = recordedTraffic();
  const connections: Buffer[][] = [];
  let welcome: Buffer | undefined;
  for (const { from, bytes } of traffic) {
    const steps = from === 'agent' ? arrival(bytes) : asked(bytes);
    const connection = connections.at(-1);
    if (steps === undefined) connections.push([Buffer.of(0)]);
    // The script connects with the first request: WELCOME, which was waited for in reality, comes after that.
    else if (connection?.length === 1 && welcome === undefined) welcome = steps;
    else if (welcome !== undefined) {
      connection?.push(steps, welcome);
      welcome = undefined;
    } else connection?.push(steps);
  }
  return {
    client: connections.map((steps) => Buffer.concat([...steps, Buffer.of(STEP.close)])),
    frame: traffic.map(({ bytes }) => Buffer.concat([Buffer.of(0xff), bytes])),
  };
}

/** Returns undefined where a connection begins: the client connects by itself with the next request. */
function asked(bytes: Buffer): Buffer | undefined {
  const [frame] = new FrameDecoder().feed(bytes);
  if (frame === undefined) throw new Error('half a frame was recorded');
  const message = parsePluginMessage(frame);
  switch (message.type) {
    case 'hello':
      return undefined;
    case 'fetch':
      return Buffer.of(STEP.fetch, message.id, message.version);
    case 'open':
      // In protocol 1 the client sends a second OPEN by itself after the look.
      return message.mayCreate ? Buffer.of(STEP.look) : Buffer.of(STEP.open, message.id);
    case 'answer':
      return Buffer.of(STEP.look);
    case 'rotate':
      return Buffer.of(STEP.rotate, message.id === 'all' ? 0 : message.id);
    case 'set':
      return Buffer.of(STEP.set, 1);
    case 'held':
      // The client sends these messages by itself.
      return Buffer.alloc(0);
    case 'load':
    case 'check':
    case 'use':
      return Buffer.of(STEP[message.type]);
  }
}

function arrival(bytes: Buffer): Buffer {
  if (bytes.length <= MOST_BYTES_AT_ONCE) return Buffer.concat([Buffer.of(bytes.length), bytes]);
  const length = Buffer.alloc(3);
  length.writeUInt16BE(bytes.length, 1);
  return Buffer.concat([length, bytes]);
}
