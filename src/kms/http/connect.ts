import type { AgentOptions } from '../agents.ts';
import { DirectTransport, plainSockets, tlsSockets } from './direct.ts';
import { bareHost, type Transport } from './transport.ts';

const PROXY_VARIABLES = ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy'] as const;

/** Makes no connection yet. */
export async function transportTo(url: URL, options: AgentOptions): Promise<Transport> {
  // Whether one of them is for this place is for Node.js to say.
  if (PROXY_VARIABLES.some((name) => (options.proxyEnvironment[name] ?? '') !== '')) {
    const { ProxyTransport } = await import('./through-proxy.ts');
    return new ProxyTransport(url, options);
  }
  const host = bareHost(url.hostname);
  const open =
    url.protocol === 'https:'
      ? tlsSockets(host, Number(url.port || 443), options.trustedCertificates)
      : plainSockets(host, Number(url.port || 80));
  return new DirectTransport(open, url.pathname);
}
