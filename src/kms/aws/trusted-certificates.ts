import { readFileSync } from 'node:fs';
import { KeyError, toKeyError } from '../../errors.ts';

/**
 * Variables that name the certificate bundle for a proxy or private endpoint: those of AWS's tools first, then
 * OpenSSL's.
 */
const VARIABLES = ['AWS_CA_BUNDLE', 'SSL_CERT_FILE'] as const;

/**
 * Returns the first bundle of certificates that the environment names, which are trusted beside the usual ones; undefined
 * when it names none.
 * @throws KeyError BAD_OPTION when the bundle cannot be read or holds no certificate
 */
export function trustedCertificates(environment: NodeJS.ProcessEnv): readonly string[] | undefined {
  const variable = VARIABLES.find((name) => (environment[name] ?? '') !== '');
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
  return [text];
}
