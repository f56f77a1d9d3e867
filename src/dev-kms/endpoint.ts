import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { devRoute, isDevRoute } from './dev-routes.ts';
import { type EndpointParts, OpenCall } from './open-call.ts';
import { readBody } from './request-body.ts';
import type { WireAnswer } from './wire.ts';

/** Longer than SDKs keep idle connections, so that theirs, not ours, is the side that closes. */
const KEEP_ALIVE_MS = 65_000;

const CLIENT_LEFT = new Error('the client left');

export interface Endpoint {
  readonly server: Server;
  /** Aborts calls that wait or hang, lets the others finish, and closes every connection. */
  close(): Promise<void>;
}

export function createEndpoint(parts: EndpointParts): Endpoint {
  const stopping = new AbortController();
  const active = new Set<Promise<void>>();
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
    const handled = handle(parts, request, response, stopping.signal).catch(() => {
      // The client left or the request was cut off: there is no connection to answer on.
      request.socket.destroy();
    });
    active.add(handled);
    void handled.finally(() => active.delete(handled));
  });
  return {
    server,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      stopping.abort();
      await Promise.allSettled(active);
      server.closeAllConnections();
      await closed;
    },
  };
}

async function handle(
  parts: EndpointParts,
  request: IncomingMessage,
  response: ServerResponse,
  stopping: AbortSignal,
): Promise<void> {
  const target = request.url ?? '/';
  if (isDevRoute(target)) {
    const { status, json } = devRoute(request, await readBody(request), parts.faults, parts.calls);
    const body = Buffer.from(`${JSON.stringify(json)}\n`);
    return send(response, { status, contentType: 'application/json', body }, randomUUID(), parts.clock.wallMs());
  }
  const over = new AbortController();
  const stop = (): void => over.abort(stopping.reason);
  if (stopping.aborted) stop();
  stopping.addEventListener('abort', stop);
  response.once('close', () => {
    stopping.removeEventListener('abort', stop);
    // A shared reason: abort() without one creates an error, which costs more than the rest of a call.
    if (!response.writableEnded) over.abort(CLIENT_LEFT);
  });
  const call = new OpenCall(parts, request);
  const outcome = await call.run(over.signal);
  call.record(outcome);
  switch (outcome.delivery) {
    case 'drop':
      request.socket.destroy();
      return;
    case 'hang':
      await aborted(over.signal);
      request.socket.destroy();
      return;
    case 'half':
      return sendHalf(response, outcome.answer, call.requestId, parts.clock.wallMs());
    case 'whole':
      return send(response, outcome.answer, call.requestId, parts.clock.wallMs());
  }
}

function head(response: ServerResponse, answer: WireAnswer, requestId: string, nowMs: number): void {
  response.writeHead(answer.status, {
    // The time that signatures are checked against: clients correct their clocks by it.
    Date: new Date(nowMs).toUTCString(),
    'x-amzn-RequestId': requestId,
    'Cache-Control': 'no-cache, no-store, must-revalidate, private',
    'Content-Type': answer.contentType,
    'Content-Length': answer.body.length,
    // Closing the connection keeps the rest of an oversized request from being parsed as the next one.
    ...(answer.status === 413 ? { Connection: 'close' } : {}),
  });
}

async function send(response: ServerResponse, answer: WireAnswer, requestId: string, nowMs: number): Promise<void> {
  head(response, answer, requestId, nowMs);
  await new Promise<void>((resolve) => {
    response.once('close', resolve);
    response.end(answer.body, () => resolve());
  });
}

async function sendHalf(response: ServerResponse, answer: WireAnswer, requestId: string, nowMs: number): Promise<void> {
  head(response, answer, requestId, nowMs);
  await new Promise<void>((resolve) => {
    response.once('close', resolve);
    response.write(answer.body.subarray(0, Math.ceil(answer.body.length / 2)), () => resolve());
  });
  response.socket?.end();
  response.socket?.destroySoon();
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
