import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { proxiesOf } from './proxies.ts';

export interface AgentOptions {
  /** Undefined: as many as are wanted. */
  readonly maxSockets?: number | undefined;
  /** HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, in either case. */
  readonly proxyEnvironment: NodeJS.ProcessEnv;
  /** PEM certificates to trust; undefined: the usual ones. */
  readonly trustedCertificates: readonly string[] | undefined;
}

/**
 * Connections that are kept, through the proxy that the environment names.
 * @throws KeyError BAD_OPTION for a proxy that cannot be used
 */
export function keepAliveAgents({ maxSockets, proxyEnvironment, trustedCertificates }: AgentOptions): {
  readonly http: HttpAgent;
  readonly https: HttpsAgent;
} {
  const options = {
    keepAlive: true,
    proxyEnv: { ...proxiesOf(proxyEnvironment) },
    ...(maxSockets === undefined ? {} : { maxSockets }),
  };
  return {
    http: new HttpAgent(options),
    https: new HttpsAgent({
      ...options,
      // Said here, NODE_TLS_REJECT_UNAUTHORIZED has no say.
      rejectUnauthorized: true,
      ...(trustedCertificates === undefined ? {} : { ca: [...trustedCertificates] }),
    }),
  };
}
