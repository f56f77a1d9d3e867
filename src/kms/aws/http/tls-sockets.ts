/** Connections over TLS, in a module of its own: Node's module for it is loaded while the agent waits for its first call. */
import { isIP } from 'node:net';
import { connect } from 'node:tls';
import { contextTrusting } from '../tls-context.ts';
import type { OpenSocket } from './direct.ts';

/** @param trusted certificates in PEM beside the usual ones */
export function tlsSockets(host: string, port: number, trusted: readonly string[] | undefined): OpenSocket {
  const secureContext = contextTrusting(trusted);
  // Setting it explicitly overrides NODE_TLS_REJECT_UNAUTHORIZED.
  const where = { host, port, secureContext, ALPNProtocols: ['http/1.1'], rejectUnauthorized: true };
  let session: Buffer | undefined;
  return (onread) => {
    // Each session is used for one connection, which brings the next: a server that refuses or ignores resumed sessions
    // does so once.
    const resumed = session;
    session = undefined;
    const socket = connect({
      ...where,
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...(resumed === undefined ? {} : { session: resumed }),
      ...{ onread },
    });
    socket.on('session', (given) => {
      session = given;
    });
    return socket;
  };
}
