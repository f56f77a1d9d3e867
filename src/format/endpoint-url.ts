const EXPECTED = 'a URL such as https://vpce-1234.kms.eu-central-1.vpce.amazonaws.com';

/** What is wrong with the URL of an endpoint, without the URL: a password may be in it. */
export function problemOfEndpointUrl(text: string): string | undefined {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) return `expected ${EXPECTED}`;
  if (url.username !== '' || url.password !== '') return 'credentials do not belong into the URL of an endpoint';
  // A request has none of them: they would be dropped.
  return /[?#]/.test(text) ? 'the URL of an endpoint has no ?query and no #fragment' : undefined;
}
