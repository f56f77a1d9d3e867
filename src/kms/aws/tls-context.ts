import * as tls from 'node:tls';

/**
 * Creates a TLS context that trusts the certificates that Node.js trusts by default, and these.
 * @param added texts of PEM certificates
 */
export function contextTrusting(added: readonly string[] = []): tls.SecureContext {
  const made = tls.createSecureContext();
  if (added.length === 0) return made;
  const { context }: { readonly context: unknown } = made;
  // Not documented. The documented way, a whole list, has Node.js print and parse 140 certificates: half of a start.
  if (!takesCertificates(context)) return tls.createSecureContext({ ca: [...usualCertificates(), ...added] });
  for (const text of added) context.addCACert(text);
  return made;
}

function takesCertificates(context: unknown): context is { addCACert(text: string): void } {
  return typeof context === 'object' && context !== null && 'addCACert' in context;
}

function usualCertificates(): readonly string[] {
  // Releases before 22.15 lack the function; their list leaves out those of NODE_EXTRA_CA_CERTS.
  const { getCACertificates, rootCertificates }: Partial<typeof tls> = tls;
  return getCACertificates?.('default') ?? rootCertificates ?? [];
}
