import type { Socket } from 'node:net';
import type { Clock } from '../../../clock.ts';
import type { AgentOptions } from '../agents.ts';

/** An HTTP answer of any kind. */
export interface HttpAnswer {
  readonly status: number;
  /** Headers by lower-case name; repeated ones are joined with commas. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The receiver wipes the body. */
  readonly body: Buffer;
}

export interface HttpRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Milliseconds until the connection is open. */
  readonly connectTimeoutMs: number;
}

export type HttpOutcome = { readonly answer: HttpAnswer } | { readonly error: unknown };

export interface TransportOptions extends AgentOptions {
  readonly clock: Clock;
}

/** Requests to one host over connections that are kept open. */
export interface Transport {
  /**
   * Sends a POST request and calls `ended` once with the outcome. An endless answer is cut at `MOST_ANSWER_BYTES`.
   * @returns a function that aborts the request: `ended` then gets its error
   */
  post(request: HttpRequest, ended: (outcome: HttpOutcome) => void): (error: unknown) => void;
  /** Opens a connection for a later request, which reports what failed. Missing: each request has to connect. */
  prepare?(connectTimeoutMs: number): void;
  close(): void;
}

/** No answer of KMS is nearly as long; a longer one comes from another service, and may never end. */
export const MOST_ANSWER_BYTES = 262_144;

export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
}

/** Limits the time of a socket's connecting. */
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

/** Removes the brackets that a URL has around an IPv6 address. */
export function bareHost(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}
