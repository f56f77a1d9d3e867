import { Duplex } from 'node:stream';
import { expect, it } from 'vitest';
import { conversationOf } from '../../../harness/traffic.ts';
import { Session } from '../../../src/agent/session.ts';
import { FrameDecoder } from '../../../src/format/frames.ts';
import { type AgentMessage, parseAgentMessage, parsePluginMessage } from '../../../src/format/messages.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs } from '../../support/memory-fs.ts';
import { kmsError, ScriptedKms } from '../../support/scripted-kms.ts';

interface Exchange {
  readonly bytes: Buffer;
  readonly type: string;
  /** The agent's messages up to the answer, without lines of the log. */
  readonly answers: readonly AgentMessage[];
}

/** By connection: each frame of the plugin with what the agent sent after it. */
function recordedExchanges(protocol: number): Exchange[][] {
  const connections: Exchange[][] = [];
  for (const { from, bytes } of conversationOf(protocol)) {
    const [frame] = new FrameDecoder().feed(bytes);
    if (frame === undefined) throw new Error('half a frame');
    if (from === 'plugin') {
      const { type } = parsePluginMessage(frame);
      if (type === 'hello') connections.push([]);
      connections.at(-1)?.push({ bytes, type, answers: [] });
    } else {
      const exchange = connections.at(-1)?.pop();
      if (exchange === undefined) throw new Error('the agent spoke first');
      connections.at(-1)?.push({ ...exchange, answers: [...exchange.answers, parseAgentMessage(frame)] });
    }
  }
  return connections;
}

/** The parts of a message that do not depend on keys or on the texts of a later agent. */
function essence(message: AgentMessage): unknown {
  switch (message.type) {
    case 'key': {
      const { bytes, ...rest } = message;
      return { ...rest, length: bytes.length };
    }
    case 'fail':
      return { type: message.type, code: message.code };
    case 'welcome':
      return { type: message.type, protocol: message.protocol };
    case 'stats':
      return { type: message.type, increases: [...message.increases].sort() };
    default:
      return message;
  }
}

/** Keys and counters of one request come in any order, so they are sorted. */
function essences(messages: readonly AgentMessage[]): unknown[] {
  const told = messages.filter(({ type }) => type !== 'log').map((message) => JSON.stringify(essence(message)));
  return told.sort();
}

it.each([
  [1, [12, 2, 6]],
  [2, [12, 3, 6]],
])('the agent answers a plugin of protocol %i as the agent of then did, frame by frame', async (protocol, counts) => {
  const fileSystem = new MemoryFs();
  const clock = new FakeClock();
  const kms = new ScriptedKms();
  let denied = false;
  kms.on = () => {
    if (denied) throw kmsError('AccessDeniedException');
  };
  for (const exchanges of recordedExchanges(protocol)) {
    const received: AgentMessage[] = [];
    const decoder = new FrameDecoder();
    const stream = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        received.push(...decoder.feed(chunk).map(parseAgentMessage));
        done();
      },
    });
    const running = new Session(stream, {
      agentVersion: '9.9.9',
      clock,
      random: Math.random,
      fileSystem,
      connectKms: async () => [kms],
      overrideSettings: (settings) => ({ ...settings, keyfileDir: '/keys' }),
      redact: (text) => text,
      idleTimeoutMs: undefined,
    }).run();
    for (const { bytes, type, answers } of exchanges) {
      const before = received.length;
      denied = answers.some(
        (message) =>
          (message.type === 'missing' && message.versions > 0) ||
          (message.type === 'fail' && message.code === 'KMS_OPERATOR'),
      );
      stream.push(bytes);
      const isAnswered = (): boolean => essences(received.slice(before)).length >= essences(answers).length;
      for (let ms = 0; ms < 60_000 && !isAnswered(); ms += 1) await clock.advance(1);
      await clock.settle();
      expect(essences(received.slice(before)), type).toEqual(essences(answers));
    }
    stream.push(null);
    await running;
  }
  expect(recordedExchanges(protocol).map((exchanges) => exchanges.length)).toEqual(counts);
});
