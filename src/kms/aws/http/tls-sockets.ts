/** Connections over TLS, in a module of its own: Node's module for it is loaded while the agent waits for its first call. */
import { isIP } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { contextTrusting } from '../tls-context.ts';
import type { OpenSocket } from './direct.ts';

/** A full handshake costs the agent twice as much as a resumed one, and a start opens more than a hundred connections. */
const MOST_SESSIONS = 128;

/** @param trusted certificates in PEM beside the usual ones */
export function tlsSockets(host: string, port: number, trusted: readonly string[] | undefined): OpenSocket {
  const secureContext = contextTrusting(trusted);
  // Setting it explicitly overrides NODE_TLS_REJECT_UNAUTHORIZED.
  const where = { host, port, secureContext, ALPNProtocols: ['http/1.1'], rejectUnauthorized: true };
  const sessions: Buffer[] = [];
  const resuming = new Set<TLSSocket>();
  return (onread) => {
    // A server that did not answer to one session would not answer to the others.
    if ([...resuming].some(({ destroyed }) => destroyed)) {
      sessions.length = 0;
      resuming.clear();
    }
    // Each session is used for one connection, which brings the next with TLS 1.3, and need not with TLS 1.2.
    const session = sessions.pop();
    const socket = connect({
      ...where,
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...(session === undefined ? {} : { session }),
      // @types/node lacks this option of net.connect() for TLS.
      ...{ onread },
    });
    socket.on('session', (given) => {
      if (sessions.length < MOST_SESSIONS) sessions.push(given);
    });
    if (session !== undefined) {
      resuming.add(socket);
      socket.once('secureConnect', () => resuming.delete(socket));
    }
    return socket;
  };
}
