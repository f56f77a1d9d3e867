/**
 * Variables that name the certificate bundle for a proxy or private endpoint: those of AWS's tools first, then
 * OpenSSL's.
 */
const VARIABLES = ['AWS_CA_BUNDLE', 'SSL_CERT_FILE'] as const;

/** Returns the variable that names the bundle; undefined: none does. */
export function bundleVariable(environment: NodeJS.ProcessEnv): (typeof VARIABLES)[number] | undefined {
  return VARIABLES.find((name) => (environment[name] ?? '') !== '');
}
