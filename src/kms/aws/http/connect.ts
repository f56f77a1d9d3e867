import { proxiesOf } from '../proxies.ts';
import { DirectTransport, plainSockets } from './direct.ts';
import { bareHost, type Transport, type TransportOptions } from './transport.ts';

/** Creates a transport to the URL. Does not connect yet. */
export async function transportTo(url: URL, options: TransportOptions): Promise<Transport> {
  // Node.js decides whether a proxy applies to this host.
  const { http_proxy: http, https_proxy: https } = proxiesOf(options.proxyEnvironment);
  if (http !== undefined || https !== undefined) {
    const { ProxyTransport } = await import('./through-proxy.ts');
    return new ProxyTransport(url, options);
  }
  const host = bareHost(url.hostname);
  const open =
    url.protocol === 'https:'
      ? (await import('./tls-sockets.ts')).tlsSockets(host, Number(url.port || 443), options.trustedCertificates)
      : plainSockets(host, Number(url.port || 80));
  return new DirectTransport(open, url.pathname, options.clock);
}
