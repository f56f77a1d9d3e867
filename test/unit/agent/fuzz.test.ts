import fc from 'fast-check';
import { expect, it } from 'vitest';
import { recordedTraffic } from '../../../harness/traffic.ts';
import { FrameDecoder } from '../../../src/format/frames.ts';
import { parseAgentMessage, parsePluginMessage } from '../../../src/format/messages.ts';
import { AGENT_PROPERTIES } from '../../fuzz/agent-properties.ts';

it("recorded traffic is what today's plugin and agent say", () => {
  const types = recordedTraffic().map(({ from, bytes }) => {
    const [frame] = new FrameDecoder().feed(bytes);
    if (frame === undefined) throw new Error('half a frame');
    return (from === 'plugin' ? parsePluginMessage(frame) : parseAgentMessage(frame)).type;
  });
  expect(new Set(types)).toEqual(
    new Set(
      'hello held set load open answer fetch rotate check use welcome key done fail log stats missing masterKey question'.split(
        ' ',
      ),
    ),
  );
});

it.each(Object.entries<fc.IRawProperty<unknown>>(AGENT_PROPERTIES))(
  'the property "%s" holds for a moment of fuzzing',
  async (_, property) => {
    await fc.assert(property, { numRuns: 300 });
  },
);
