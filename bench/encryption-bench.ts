/** The function of bench/native/encryption_bench.c in a server. */
import type { ScratchServer } from '../harness/scratch-server.ts';

export interface Measured {
  /** Nanoseconds of wall-clock time for each call of a thread. */
  readonly ns: number;
  /** Nanoseconds of CPU time for each call of a thread. */
  readonly cpuNs: number;
}

async function call(server: ScratchServer, ...args: readonly (string | number)[]): Promise<Buffer> {
  const [row] = await server.sql(
    `SELECT HEX(encryption_bench(${args.map((arg) => JSON.stringify(arg)).join(', ')})) AS r`,
  );
  const result = row?.['r'];
  if (typeof result !== 'string')
    throw new Error(`encryption_bench(${args.join(', ')}) answered wrongly:\n${server.log}`);
  return Buffer.from(result, 'hex');
}

/** Encryption and decryption: of so many bytes. */
export type Operation = 'latest' | 'get' | 'both' | `${'encrypt' | 'decrypt'} ${number}`;

export async function measure(
  server: ScratchServer,
  operation: Operation,
  ms: number,
  threads: number,
): Promise<Measured> {
  const [ns = Number.NaN, cpuNs = Number.NaN] = (await call(server, operation, 1, ms, threads))
    .toString()
    .split(' ')
    .map(Number);
  return { ns, cpuNs };
}

/** Measures the longest call for the latest version of key 1, among many calls within `ms`. */
export async function longestCall(server: ScratchServer, ms: number): Promise<{ ns: number; calls: number }> {
  const [ns = Number.NaN, calls = Number.NaN] = (await call(server, 'longest', 1, ms, 0))
    .toString()
    .split(' ')
    .map(Number);
  return { ns, calls };
}

/** The server's CPU time so far; /proc only has units of 10 ms. */
export async function cpuNanoseconds(server: ScratchServer): Promise<number> {
  return Number(await call(server, 'cpu', 0, 0, 0));
}

export async function keyBytes(server: ScratchServer, id: number): Promise<Uint8Array> {
  return await call(server, 'key', id, 1, 0);
}

/** Encrypts test data under version 1 of key 1; `padded`: as data that may grow. */
export async function ciphertext(server: ScratchServer, kind: 'page' | 'padded', size: number): Promise<Buffer> {
  return await call(server, kind, 1, 1, size);
}
