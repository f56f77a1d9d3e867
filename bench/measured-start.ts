/** Starts of a server with many key versions, and what they took. */
import { readFileSync } from 'node:fs';
import { childrenOf } from '../harness/children.ts';
import type { ScratchServer } from '../harness/scratch-server.ts';
import type { StandIn } from './stand-in.ts';
import { median, table } from './statistics.ts';

/** Times in milliseconds. */
export interface Start {
  readonly ms: number;
  /** CPU time of the stand-in of KMS. */
  readonly kmsMs: number;
  readonly mostAtOnce: number;
  /** CPU time of the agent, all its threads. */
  readonly agentMs: number;
  /** The most that was resident of the agent, in bytes. */
  readonly peakBytes: number;
}

/** Starts the same server with 1 version and with many. */
export interface Starts {
  readonly name: string;
  readonly versions: number;
  readonly latencyMs: number;
  readonly one: readonly Start[];
  readonly many: readonly Start[];
}

/** Milliseconds of the kernel's clock tick. */
const TICK_MS = 10;
const MB = 1_000_000;

/** Starts the server; then it must know so many versions. It is killed afterwards. */
export async function measureStart(server: ScratchServer, kms: StandIn, versions: number): Promise<Start> {
  await kms.take();
  const startMs = performance.now();
  await server.start();
  const ms = performance.now() - startMs;
  try {
    const agent = usedByAgent(server);
    const loaded = await server.variable('STATUS', 'Aws_key_management_versions_loaded');
    const { calls, cpuMs, mostAtOnce } = await kms.take();
    if (loaded !== String(versions) || calls !== versions)
      throw new Error(`${versions} versions: ${loaded} loaded with ${calls} calls`);
    return { ms, kmsMs: cpuMs, mostAtOnce, ...agent };
  } finally {
    await server.kill();
  }
}

function usedByAgent(server: ScratchServer): Pick<Start, 'agentMs' | 'peakBytes'> {
  const [pid] = childrenOf(server.pid);
  if (pid === undefined) throw new Error('the agent has ended');
  const [, peakKb] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return { agentMs: TICK_MS * (Number(fields[11]) + Number(fields[12])), peakBytes: 1024 * Number(peakKb) };
}

/** Milliseconds that many versions cost beyond one, by medians. */
export function moreThanOne({ one, many }: Pick<Starts, 'one' | 'many'>): number {
  return median(many.map(({ ms }) => ms)) - median(one.map(({ ms }) => ms));
}

/** A table with a row for each kind of start. */
export function startsTable(all: readonly Starts[]): string {
  const rows = all.map((starts) => {
    const { name, versions, latencyMs, many } = starts;
    const of = (figure: keyof Start): number => median(many.map((start) => start[figure]));
    return [
      name,
      seconds(moreThanOne(starts)),
      latencyMs === 0 ? '–' : seconds((versions / of('mostAtOnce')) * latencyMs),
      seconds(of('agentMs')),
      String(Math.round(of('peakBytes') / MB)),
      String(of('mostAtOnce')),
      seconds(of('kmsMs')),
    ];
  });
  const header = [
    'versions, KMS',
    'more than with one, s',
    "the network's bound, s",
    "the agent's CPU, s",
    'its memory at most, MB',
    'calls at once',
    "KMS's stand-in, CPU, s",
  ];
  return table(header, rows);
}

export function seconds(ms: number): string {
  return (ms / 1000).toFixed(2);
}
