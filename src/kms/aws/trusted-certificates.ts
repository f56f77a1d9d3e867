import { readFileSync } from 'node:fs';
import * as tls from 'node:tls';
import { KeyError, toKeyError } from '../../errors.ts';
import { bundleVariable } from './bundle-variable.ts';

/**
 * Returns the system's usual certificates and those of the first bundle that the environment names; undefined when it
 * names none.
 * @throws KeyError BAD_OPTION when the bundle cannot be read or holds no certificate
 */
export function trustedCertificates(environment: NodeJS.ProcessEnv): readonly string[] | undefined {
  const variable = bundleVariable(environment);
  if (variable === undefined) return undefined;
  const path = environment[variable] ?? '';
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new KeyError('BAD_OPTION', `${variable}: cannot read ${path}: ${toKeyError(cause).message}`, {
      hint: 'the user the server runs as must be allowed to read the bundle of certificates',
      cause,
    });
  }
  if (!text.includes('-----BEGIN CERTIFICATE-----')) {
    throw new KeyError('BAD_OPTION', `${variable}: ${path} holds no PEM certificate`);
  }
  return [...usualCertificates(), text];
}

/** The certificates that Node.js trusts by default. */
export function usualCertificates(): readonly string[] {
  // Releases before 22.15 lack the function; their list leaves out those of NODE_EXTRA_CA_CERTS.
  const { getCACertificates, rootCertificates }: Partial<typeof tls> = tls;
  return getCACertificates?.('default') ?? rootCertificates ?? [];
}
