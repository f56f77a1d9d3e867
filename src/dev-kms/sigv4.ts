import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { REGION } from '../format/region.ts';
import { parseAuthorization } from './authorization.ts';
import { KmsFault } from './kms-fault.ts';

/*
 * Signature Version 4 as a server checks it, from
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */

export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** For temporary credentials: a request must carry exactly this token. */
  readonly sessionToken?: string | undefined;
  /** Milliseconds since 1970; from then on the answer is ExpiredTokenException. */
  readonly expiresAt?: number | undefined;
  /** Actions that an identity policy would forbid; see `Caller`. */
  readonly denied?: readonly string[] | undefined;
}

/** A request for `/`, the only path that KMS serves, as received and before any decoding. */
export interface RawRequest {
  readonly method: string;
  /** Alternating names and values, in the order of arrival. */
  readonly rawHeaders: readonly string[];
  readonly body: Uint8Array;
}

export interface Verified {
  readonly accessKey: AccessKey;
  /** The Region of the credential scope, which is the Region that the client addresses. */
  readonly region: string;
}

const MAX_SKEW_MS = 5 * 60_000;

/**
 * @throws KmsFault MissingAuthenticationTokenException, IncompleteSignatureException, UnrecognizedClientException,
 * ExpiredTokenException, InvalidSignatureException
 */
export function verifySignature(request: RawRequest, accessKeys: readonly AccessKey[], nowMs: number): Verified {
  const headers = collectHeaders(request.rawHeaders);
  const authorization = headers.get('authorization')?.[0];
  if (authorization === undefined) {
    throw new KmsFault('MissingAuthenticationTokenException', 'Missing Authentication Token');
  }
  const date = headers.get('x-amz-date')?.[0] ?? headers.get('date')?.[0];
  const { accessKeyId, scope, scopeDate, region, service, signedHeaders, signature } = parseAuthorization(
    authorization,
    date !== undefined,
  );
  const accessKey = findAccessKey(accessKeys, accessKeyId, headers.get('x-amz-security-token')?.[0], nowMs);
  if (service !== 'kms') throw invalidSignature("Credential should be scoped to correct service: 'kms'. ");
  if (!REGION.test(region)) throw invalidSignature('Credential should be scoped to a valid region. ');
  const timestamp = checkDate(date ?? '', scopeDate, nowMs);
  checkSignedHeaders(headers, signedHeaders);

  const canonicalRequest = [
    request.method,
    '/',
    '',
    ...signedHeaders.map((name) => `${name}:${canonicalValue(headers.get(name) ?? [])}`),
    '',
    signedHeaders.join(';'),
    sha256(request.body),
  ].join('\n');
  const stringToSign = ['AWS4-HMAC-SHA256', timestamp, scope, sha256(Buffer.from(canonicalRequest))].join('\n');
  const expected = hmac(signingKey(accessKey.secretAccessKey, [scopeDate, region, service]), stringToSign);
  const claimed = Buffer.from(signature, 'hex');
  if (claimed.length !== expected.length || !timingSafeEqual(claimed, expected)) {
    throw invalidSignature(
      'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.',
    );
  }
  return { accessKey, region };
}

let lastKey: { readonly of: string; readonly key: Uint8Array } | undefined;

/** The signing key of the last caller is cached: one client makes many calls a day. */
function signingKey(secretAccessKey: string, scope: readonly string[]): Uint8Array {
  const of = [secretAccessKey, ...scope].join('\n');
  if (lastKey?.of !== of) {
    const secret: Uint8Array = Buffer.from(`AWS4${secretAccessKey}`);
    lastKey = { of, key: [...scope, 'aws4_request'].reduce(hmac, secret) };
  }
  return lastKey.key;
}

function findAccessKey(
  accessKeys: readonly AccessKey[],
  accessKeyId: string,
  token: string | undefined,
  nowMs: number,
): AccessKey {
  const found = accessKeys.find((key) => key.accessKeyId === accessKeyId);
  if (found === undefined || found.sessionToken !== token) {
    throw new KmsFault('UnrecognizedClientException', 'The security token included in the request is invalid.');
  }
  if (found.expiresAt !== undefined && found.expiresAt <= nowMs) {
    throw new KmsFault('ExpiredTokenException', 'The security token included in the request is expired');
  }
  return found;
}

/** The request's time in ISO 8601 basic format, checked against the scope's day and our clock. */
function checkDate(text: string, scopeDate: string, nowMs: number): string {
  const timestamp = /^\d{8}T\d{6}Z$/.test(text) ? text : toBasic(Date.parse(text));
  const requestMs = fromBasic(timestamp);
  if (Number.isNaN(requestMs)) {
    throw new KmsFault(
      'IncompleteSignatureException',
      `Date must be in ISO-8601 'basic format'. Got '${text}'. See http://en.wikipedia.org/wiki/ISO_8601`,
    );
  }
  if (timestamp.slice(0, 8) !== scopeDate) {
    throw invalidSignature(
      `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${scopeDate}' != '${timestamp.slice(0, 8)}', from '${timestamp}'.`,
    );
  }
  const now = toBasic(nowMs);
  if (requestMs < nowMs - MAX_SKEW_MS) {
    throw invalidSignature(
      `Signature expired: ${timestamp} is now earlier than ${toBasic(nowMs - MAX_SKEW_MS)} (${now} - 5 min.)`,
    );
  }
  if (requestMs > nowMs + MAX_SKEW_MS) {
    throw invalidSignature(
      `Signature not yet current: ${timestamp} is still later than ${toBasic(nowMs + MAX_SKEW_MS)} (${now} + 5 min.)`,
    );
  }
  return timestamp;
}

function toBasic(ms: number): string {
  return Number.isNaN(ms) ? '' : new Date(ms).toISOString().replace(/[-:]|\.\d{3}/g, '');
}

function fromBasic(text: string): number {
  return Date.parse(text.replace(/^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/, '$1-$2-$3T$4:$5:$6Z'));
}

/** Headers that affect the request must be signed, or a third party could change them under a valid signature. */
function checkSignedHeaders(headers: ReadonlyMap<string, readonly string[]>, signed: readonly string[]): void {
  if (!signed.includes('host')) {
    throw invalidSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.");
  }
  for (const name of ['x-amz-date', 'x-amz-target', 'x-amz-security-token']) {
    if (headers.has(name) && !signed.includes(name)) {
      throw invalidSignature(`'${name}' must be a 'SignedHeader' in the AWS Authorization.`);
    }
  }
}

function collectHeaders(rawHeaders: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const headers = new Map<string, string[]>();
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = (rawHeaders[index] ?? '').toLowerCase();
    headers.set(name, [...(headers.get(name) ?? []), rawHeaders[index + 1] ?? '']);
  }
  return headers;
}

function canonicalValue(values: readonly string[]): string {
  return values.map((value) => value.trim().replace(/ +/g, ' ')).join(',');
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function invalidSignature(message: string): KmsFault {
  return new KmsFault('InvalidSignatureException', message);
}
