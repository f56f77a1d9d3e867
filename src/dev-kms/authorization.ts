import { createHash } from 'node:crypto';
import { KmsFault } from './kms-fault.ts';

export interface Authorization {
  readonly accessKeyId: string;
  /** `date/region/service/aws4_request`. */
  readonly scope: string;
  readonly scopeDate: string;
  readonly region: string;
  readonly service: string;
  /** Lower case, in the order of the header. */
  readonly signedHeaders: readonly string[];
  /** 64 hex digits. */
  readonly signature: string;
}

/** @throws KmsFault IncompleteSignatureException, with all that is missing */
export function parseAuthorization(header: string, hasDate: boolean): Authorization {
  const [algorithm, parameters = ''] = splitOnce(header.trim(), ' ');
  if (algorithm !== 'AWS4-HMAC-SHA256') {
    throw incomplete(
      `Authorization header requires 'Credential' parameter. Unsupported AWS 'algorithm': '${algorithm}'.`,
    );
  }
  const values = new Map(
    parameters.split(',').map((part) => {
      const [name, value = ''] = splitOnce(part.trim(), '=');
      return [name, value] as const;
    }),
  );
  const problems = ['Credential', 'Signature', 'SignedHeaders']
    .filter((name) => (values.get(name) ?? '') === '')
    .map((name) => `Authorization header requires '${name}' parameter.`);
  if (!hasDate) {
    problems.push("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.");
  }
  // The header itself must not come back: it may hold something that was meant to be secret.
  const hash = createHash('sha256').update(header).digest('base64');
  if (problems.length > 0) {
    throw incomplete(`${problems.join(' ')} (Hashed with SHA-256 and encoded with Base64) Authorization=${hash}`);
  }
  const credential = (values.get('Credential') ?? '').split('/');
  const [accessKeyId, scopeDate, region, service, terminator] = credential;
  if (
    credential.length !== 5 ||
    accessKeyId === undefined ||
    scopeDate === undefined ||
    region === undefined ||
    service === undefined
  ) {
    throw incomplete(
      `Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got ${credential.length}`,
    );
  }
  if (terminator !== 'aws4_request') {
    throw new KmsFault(
      'InvalidSignatureException',
      "Credential should be scoped with a valid terminator: 'aws4_request'.",
    );
  }
  return {
    accessKeyId,
    scope: credential.slice(1).join('/'),
    scopeDate,
    region,
    service,
    signedHeaders: (values.get('SignedHeaders') ?? '').toLowerCase().split(';'),
    signature: values.get('Signature') ?? '',
  };
}

function splitOnce(text: string, separator: string): readonly [string, string?] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function incomplete(message: string): KmsFault {
  return new KmsFault('IncompleteSignatureException', message);
}
