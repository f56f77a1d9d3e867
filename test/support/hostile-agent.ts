/**
 * A stand-in for the agent that passes on the real agent's messages, but alters the answer to a rotation in the way
 * that a file names. Arguments: the real agent, the file, and those of the agent.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { type Frame, FrameDecoder, PayloadWriter } from '../../src/format/frames.ts';

const KEY = 0x82;
const DONE = 0x83;
const [real = '', file = '', ...rest] = process.argv.slice(2);
const how = readFileSync(file, 'utf8');
if (how === 'closes at once') process.exit(0);

const plugin = new Socket({ fd: 3 });
const child = spawn(real, rest, { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
const agent = child.stdio[3];
if (!(agent instanceof Duplex)) throw new Error('no socket to the agent');

function toBytes({ type, request, payload }: Frame): Buffer {
  return new PayloadWriter().bytes(payload).toFrame(type, request);
}

function withPayload(frame: Frame, change: (payload: Buffer) => void): Buffer {
  const payload = Buffer.from(frame.payload);
  change(payload);
  return toBytes({ ...frame, payload });
}

/** KEY: u32 id, u32 version, u8 current, u8 algorithm, u8 length, bytes. */
function spoilt(frame: Frame): Buffer {
  const bytes = toBytes(frame);
  switch (how) {
    case 'garbage':
      return frame.type === DONE ? Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') : bytes;
    case 'wrong request':
      return frame.type === DONE ? toBytes({ ...frame, request: frame.request + 1000 }) : bytes;
    case 'key of another id':
      return frame.type === KEY ? withPayload(frame, (payload) => payload.writeUInt32BE(77, 0)) : bytes;
    case 'key id 0':
      return frame.type === KEY ? withPayload(frame, (payload) => payload.writeUInt32BE(0, 0)) : bytes;
    case 'key of 15 bytes':
      if (frame.type !== KEY) return bytes;
      return toBytes({
        ...frame,
        payload: Buffer.concat([frame.payload.subarray(0, 10), Buffer.of(15), Buffer.alloc(15)]),
      });
    case 'key of no algorithm':
      return frame.type === KEY ? withPayload(frame, (payload) => payload.writeUInt8(0, 9)) : bytes;
    case 'other bytes for a key':
      return frame.type === KEY ? withPayload(frame, (payload) => payload.writeUInt32BE(1, 4)) : bytes;
    default:
      return bytes;
  }
}

const decoder = new FrameDecoder();
agent.on('data', (chunk: Buffer) => {
  for (const frame of decoder.feed(chunk)) {
    if (how === 'dies after HELLO') process.exit(9);
    if (how === 'half a frame' && frame.type === DONE) {
      plugin.end(toBytes(frame).subarray(0, 9));
      return;
    }
    plugin.write(spoilt(frame));
  }
});
plugin.on('data', (chunk: Buffer) => agent.write(chunk));
plugin.on('close', () => process.exit(0));
plugin.on('error', () => process.exit(0));
agent.on('close', () => plugin.end());
process.on('exit', () => child.kill('SIGKILL'));
