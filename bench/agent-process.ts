/** Starts an agent as the plugin does, sends it requests and measures it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { hasEnded } from '../harness/children.ts';
import { helloSettings } from '../harness/hello-settings.ts';
import { TEST_CREDENTIALS } from '../harness/scratch-server.ts';
import { wipe } from '../src/bytes.ts';
import { FrameDecoder } from '../src/format/frames.ts';
import { type AgentMessage, encodePluginMessage, PROTOCOL_VERSION, parseAgentMessage } from '../src/format/messages.ts';

/** All durations in milliseconds, since the process was started. */
export interface AgentRun {
  readonly welcomeMs: number;
  /** From the request to the first data key, and to the last answer. */
  readonly firstKeyMs: number;
  readonly doneMs: number;
  /**
   * From the first KMS call to the first data key, without the random start delay: too little where KMS answers within
   * milliseconds, since the agent sends lines and keys together.
   */
  readonly firstCallMs: number;
  readonly keys: number;
  readonly cpuMs: number;
  /** Bytes. */
  readonly residentBytes: number;
  /** Resident bytes that are not shared with other processes. */
  readonly privateBytes: number;
}

export interface AgentQuestion {
  readonly command: readonly string[];
  /** Arguments after `agent`. */
  readonly args?: readonly string[];
  readonly keyDirectory: string;
  readonly kmsUrl: string;
  readonly ask: { readonly type: 'load' } | { readonly type: 'rotate'; readonly id: 'all' };
  /** `Trace` tells of the first call. */
  readonly logLevel?: 'Off' | 'Trace';
  readonly environment?: NodeJS.ProcessEnv;
  /**
   * A directory to create: the agent is started with `--listen` on a socket in it, instead of with a socket as
   * descriptor 3.
   */
  readonly listenIn?: string;
}

const DEADLINE_MS = 300_000;
const CONNECT_EVERY_MS = 1;

export async function runAgent({
  command,
  args = [],
  keyDirectory,
  kmsUrl,
  ask,
  logLevel = 'Off',
  environment,
  listenIn,
}: AgentQuestion): Promise<AgentRun> {
  const [file = '', ...rest] = command;
  const path = listenIn === undefined ? undefined : join(listenIn, 'agent.sock');
  const listens =
    path === undefined
      ? []
      : ['--listen', path, '--keyfile-dir', keyDirectory, '--region', 'us-east-1', '--endpoint-url', kmsUrl];
  if (listenIn !== undefined) mkdirSync(listenIn, { mode: 0o700 });
  const startMs = performance.now();
  const child = spawn(file, [...rest, 'agent', ...args, ...listens], {
    stdio: ['ignore', 'inherit', path === undefined ? 'inherit' : 'ignore', 'pipe'],
    env: environment ?? TEST_CREDENTIALS,
  });
  const stream = path === undefined ? child.stdio[3] : await connected(path, child);
  if (!(stream instanceof Duplex)) throw new Error('no socket to the agent');
  const since = (): number => performance.now() - startMs;
  stream.write(
    encodePluginMessage(1, {
      type: 'hello',
      protocol: PROTOCOL_VERSION,
      role: 'server',
      held: 0,
      settings: helloSettings({
        log_level: logLevel,
        region: 'us-east-1',
        endpoint_url: kmsUrl,
        keyfile_dir: keyDirectory,
      }),
    }),
  );
  const decoder = new FrameDecoder();
  let [welcomeMs, calledMs, firstKeyMs, keys] = [0, 0, 0, 0];
  try {
    for await (const chunk of stream) {
      for (const frame of decoder.feed(chunk)) {
        const message: AgentMessage = parseAgentMessage(frame);
        if (message.type === 'welcome') {
          welcomeMs = since();
          stream.write(encodePluginMessage(2, { ...ask, deadlineMs: DEADLINE_MS }));
        } else if (message.type === 'log' && message.text.startsWith('AWS KMS')) calledMs ||= since();
        else if (message.type === 'key') {
          firstKeyMs ||= since();
          keys += 1;
          wipe(message.bytes);
        } else if (message.type === 'fail') throw new Error(`the agent says: ${message.message}`);
        else if (message.type === 'done') {
          const doneMs = since();
          return { welcomeMs, firstKeyMs, doneMs, firstCallMs: firstKeyMs - calledMs, keys, ...used(child.pid ?? 0) };
        }
      }
    }
    throw new Error('the agent ended');
  } finally {
    const ended = child.exitCode === null ? once(child, 'exit') : undefined;
    stream.destroy();
    child.kill('SIGKILL');
    await ended;
  }
}

/** Connects to an agent that may not listen yet. */
async function connected(path: string, child: ChildProcess): Promise<Duplex> {
  for (;;) {
    const socket = createConnection(path);
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      if (child.pid === undefined || hasEnded(child.pid)) throw error;
      await delay(CONNECT_EVERY_MS);
    }
  }
}

/** Milliseconds of the kernel's clock tick; there are 100 ticks in a second. */
const TICK_MS = 10;

function used(pid: number): Pick<AgentRun, 'cpuMs' | 'residentBytes' | 'privateBytes'> {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytes = (name: string): number => 1024 * Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]);
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return {
    cpuMs: TICK_MS * (Number(fields[11]) + Number(fields[12])),
    residentBytes: bytes('VmRSS'),
    privateBytes: bytes('RssAnon'),
  };
}
