import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { listening } from '../fronts.ts';

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface Reply {
  readonly status: number;
  readonly body: string;
  readonly contentType?: string;
}

/** Instead of an answer: nothing at all, or a broken connection. */
export type Silence = 'hang' | 'drop';

export interface StandIn {
  readonly url: string;
  /** All requests in order, as `GET /path`. */
  readonly asked: string[];
  /** The answer to give instead of the service's own, until this is unset. */
  trouble: Reply | Silence | undefined;
}

/** A service on loopback that lives as long as the running test. */
export async function standIn(answer: (asked: Asked) => Reply | Silence, host = '127.0.0.1'): Promise<StandIn> {
  const server = createServer((request, response) => {
    void handle(request, response, (asked) => {
      service.asked.push(`${asked.method} ${asked.path}`);
      return service.trouble ?? answer(asked);
    });
  });
  const port = await listening(server, host);
  const service: StandIn = { url: `http://${host}:${port}`, asked: [], trouble: undefined };
  return service;
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  answer: (asked: Asked) => Reply | Silence,
): Promise<void> {
  const body = await text(request);
  const url = new URL(request.url ?? '/', 'http://loopback');
  const { method = '', headers } = request;
  const reply = answer({ method, path: url.pathname, query: url.searchParams, headers, body });
  if (reply === 'hang') return;
  if (reply === 'drop') {
    request.socket.destroy();
    return;
  }
  // The answer's Date comes from the tests' clock: the SDK corrects its clock by it.
  response.writeHead(reply.status, {
    'Content-Type': reply.contentType ?? 'text/plain',
    Date: new Date().toUTCString(),
    'x-amzn-RequestId': 'request-of-stand-in',
  });
  response.end(reply.body);
}

export function json(value: unknown, status = 200): Reply {
  return { status, body: JSON.stringify(value), contentType: 'application/json' };
}

export const notFound: Reply = { status: 404, body: 'Not Found' };
