import { parseUrl } from '../url.ts';

const EXPECTED = 'a URL such as https://vpce-1234.kms.eu-central-1.vpce.amazonaws.com';

/** Returns the problem of an endpoint URL, or undefined. It does not repeat the URL, which may hold a password. */
export function problemOfEndpointUrl(text: string): string | undefined {
  const url = parseUrl(text);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) return `expected ${EXPECTED}`;
  if (url.username !== '' || url.password !== '') return 'credentials do not belong into the URL of an endpoint';
  // Requests would drop a query or fragment of the endpoint.
  return /[?#]/.test(text) ? 'the URL of an endpoint has no ?query and no #fragment' : undefined;
}
