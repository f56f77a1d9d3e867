import {
  createServer as createHttpServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type RequestListener,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, type Server } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import type { Identity } from './certificates.ts';
import { cleanUp } from './scratch.ts';

/** Proxies between the agent and a service; all of them end with the running test. */

/** Starts a server on loopback and returns its port. */
export async function listening(
  server: Server & { closeAllConnections?: () => void },
  host = '127.0.0.1',
): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  cleanUp(() => {
    server.close();
    server.closeAllConnections?.();
  });
  return (server.address() as AddressInfo).port;
}

/** Passes requests on to `target`, or to where they ask to go. */
export function forwarding(
  target?: string,
  changed: (headers: IncomingHttpHeaders) => IncomingHttpHeaders = (headers) => headers,
): RequestListener {
  return (incoming, outgoing) => {
    const { method, headers, url = '' } = incoming;
    const passed = httpRequest(
      target ?? url,
      target === undefined ? { method, headers } : { method, headers, path: url },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 500, changed(answer.headers));
        answer.pipe(outgoing);
      },
    );
    passed.on('error', () => outgoing.destroy());
    incoming.pipe(passed);
  };
}

/**
 * A TLS front of `target`; its URL names 127.0.0.1.
 * @param options of Node's server
 */
export async function tlsFront(
  target: string,
  { key, chain }: Identity,
  options: SecureContextOptions = {},
): Promise<string> {
  const server = createHttpsServer({ ...options, key, cert: chain }, forwarding(target));
  return `https://127.0.0.1:${await listening(server)}`;
}

/** An HTTP proxy that records its requests. */
export async function httpProxy(): Promise<{ readonly url: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const pass = forwarding();
  const server = createHttpServer((incoming, outgoing) => {
    asked.push(`${incoming.method} ${incoming.url}`);
    pass(incoming, outgoing);
  });
  server.on('connect', (incoming, socket, head) => {
    asked.push(`CONNECT ${incoming.url}`);
    const [host, port] = (incoming.url ?? '').split(':');
    const target = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      target.write(head);
      target.pipe(socket).pipe(target);
    });
    target.on('error', () => socket.destroy());
    socket.on('error', () => target.destroy());
  });
  return { url: `http://127.0.0.1:${await listening(server)}`, asked };
}

/** A proxy that answers every CONNECT with `status`, or hangs up on it. */
export async function refusingProxy(
  status: number | 'hangs up',
): Promise<{ readonly url: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const server = createHttpServer().on('connect', (incoming, socket) => {
    asked.push(incoming.url ?? '');
    if (status === 'hangs up') socket.destroy();
    else socket.end(`HTTP/1.1 ${status} No\r\n\r\n`);
  });
  return { url: `http://127.0.0.1:${await listening(server)}`, asked };
}
