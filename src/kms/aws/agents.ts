import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { proxiesOf } from './proxies.ts';
import { contextTrusting } from './tls-context.ts';

export interface AgentOptions {
  /** The most connections; undefined: no limit. */
  readonly maxSockets?: number | undefined;
  /** HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case. */
  readonly proxyEnvironment: NodeJS.ProcessEnv;
  /** Certificates in PEM to trust beside the usual ones. */
  readonly trustedCertificates: readonly string[] | undefined;
}

/**
 * Creates agents that keep connections open, through the proxy that the environment names.
 * @throws KeyError BAD_OPTION for an unusable proxy
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
      // Setting it explicitly overrides NODE_TLS_REJECT_UNAUTHORIZED.
      rejectUnauthorized: true,
      ...(trustedCertificates === undefined ? {} : { secureContext: contextTrusting(trustedCertificates) }),
    }),
  };
}
