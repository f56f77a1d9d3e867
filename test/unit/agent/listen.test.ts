import { chmodSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { helloSettings } from '../../../harness/hello-settings.ts';
import { listenForPlugins, MOST_CONNECTIONS } from '../../../src/agent/listen.ts';
import { encodePluginMessage } from '../../../src/format/messages.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs } from '../../support/memory-fs.ts';
import { cleanUp, scratchDirectory, until } from '../../support/scratch.ts';
import { ScriptedKms } from '../../support/scripted-kms.ts';

const HELLO = encodePluginMessage(1, {
  type: 'hello',
  protocol: 1,
  role: 'server',
  held: 0,
  settings: helloSettings({ master_key_id: 'alias/a' }),
});

interface Peer {
  readonly socket: Socket;
  bytes: number;
  isClosed: boolean;
}

async function listeningAgent() {
  const clock = new FakeClock();
  const directory = scratchDirectory();
  chmodSync(directory, 0o700);
  const path = join(directory, 'agent.sock');
  const reports: string[] = [];
  const stop = new AbortController();
  const served = listenForPlugins(
    path,
    {
      agentVersion: '9.9.9',
      clock,
      random: () => 0.5,
      fileSystem: new MemoryFs(),
      connectKms: async () => [new ScriptedKms()],
      overrideSettings: (settings) => settings,
      redact: (text) => text,
      idleTimeoutMs: undefined,
    },
    (line) => reports.push(line),
    stop.signal,
  );
  cleanUp(async () => {
    stop.abort();
    await served;
  });
  await until('the agent listens', () => reports.length === 1);
  const newPeer = (): Peer => {
    const peer: Peer = { socket: connect(path), bytes: 0, isClosed: false };
    peer.socket.on('data', (chunk) => {
      peer.bytes += chunk.length;
    });
    peer.socket.on('error', () => undefined);
    peer.socket.on('close', () => {
      peer.isClosed = true;
    });
    cleanUp(() => void peer.socket.destroy());
    return peer;
  };
  return { clock, reports, newPeer };
}

it('connections without a complete HELLO are closed to make room for others', async () => {
  const { clock, reports, newPeer } = await listeningAgent();
  const plugin = newPeer();
  plugin.socket.write(HELLO);
  await until('the plugin is welcome', () => plugin.bytes > 0);
  expect(clock.pendingTimers).toBe(0);

  const silent = Array.from({ length: MOST_CONNECTIONS - 1 }, newPeer);
  silent[0]?.socket.write(HELLO.subarray(0, -1));
  await until('the agent waits for all of them', () => clock.pendingTimers === silent.length);
  const refused = newPeer();
  await until('there is no place', () => refused.isClosed);
  await clock.advance(29_999);
  expect(silent.filter(({ isClosed }) => isClosed)).toEqual([]);
  await clock.advance(1);
  await until('the silent ones are gone', () => silent.every(({ isClosed }) => isClosed));
  expect(new Set(reports.slice(2))).toEqual(new Set(['error: connection closed: no HELLO came within 30 s']));

  const late = newPeer();
  late.socket.write(HELLO);
  await until('there is a place', () => late.bytes > 0);
  expect(plugin.isClosed).toBe(false);
});
