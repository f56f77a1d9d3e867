/** The row of the failure table for a proxy that refuses the configured user and password. */
export const PROXY_REFUSED = 'ProxyAuthenticationRequired';

/** Proxy Authentication Required. */
export const REFUSED_STATUS = 407;

export class ProxyRefusal extends Error {
  override readonly name = PROXY_REFUSED;
}

/** RFC 9110, 15.5.8; or the error of Node.js for a CONNECT that was answered so. */
export function isProxyRefusal(thrown: unknown): boolean {
  if (thrown instanceof ProxyRefusal) return true;
  if (!(thrown instanceof Error) || !('code' in thrown) || !('statusCode' in thrown)) return false;
  return thrown.code === 'ERR_PROXY_TUNNEL' && thrown.statusCode === REFUSED_STATUS;
}
