import type { Socket } from 'node:net';
import type { Clock } from '../../../clock.ts';
import type { AgentOptions } from '../agents.ts';

/** What came back, whatever it says. */
export interface HttpAnswer {
  readonly status: number;
  /** By lower-case name; of one that came twice, the values with a comma between. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** For the receiver to wipe. */
  readonly body: Buffer;
}

export interface HttpRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Milliseconds until the connection is there. */
  readonly connectTimeoutMs: number;
}

export type HttpOutcome = { readonly answer: HttpAnswer } | { readonly error: unknown };

export interface TransportOptions extends AgentOptions {
  readonly clock: Clock;
}

/** Over connections to one place that are kept. */
export interface Transport {
  /**
   * POSTs, and tells the outcome once. An answer that has no end is cut at `MOST_ANSWER_BYTES`.
   * @returns what gives the request up: `ended` is told the error then
   */
  post(request: HttpRequest, ended: (outcome: HttpOutcome) => void): (error: unknown) => void;
  close(): void;
}

/** No answer of KMS comes near it; who sends more is somebody else, and may go on for as long as we listen. */
export const MOST_ANSWER_BYTES = 262_144;

export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
}

/** Of a socket that is connecting. */
export function limitConnecting(
  socket: Socket,
  limitMs: number,
  clock: Clock,
  giveUp: (error: TimeoutError) => void,
): void {
  const stop = clock.after(limitMs, () => giveUp(new TimeoutError(`no connection within ${limitMs} ms`)));
  socket.once('connect', stop);
  socket.once('close', stop);
}

/** Of an IPv6 address, which a URL has in brackets. */
export function bareHost(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}
