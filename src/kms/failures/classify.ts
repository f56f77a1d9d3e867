import { systemErrorCode } from '../../errors.ts';
import type { FailureGroup, FailureRow, KmsFailure } from '../../kms-failure.ts';
import { type AnswerMetadata, readMetadata } from './answer-metadata.ts';
import { CREDENTIAL_FAILURES } from './credential-rows.ts';
import { httpDate } from './http-date.ts';
import { isProxyRefusal, PROXY_REFUSED } from './proxy-refusal.ts';

const LONGEST_MESSAGE = 1_000;
/** Milliseconds; a longer Retry-After, such as a proxy's of a day, is ignored. */
const LONGEST_RETRY_AFTER_MS = 30_000;

const throttled: FailureRow = {
  kind: 'transient',
  group: 'throttling',
  retry: 'until-deadline',
  hint: 'KMS limits requests per account and Region; see the quota "Cryptographic operations (symmetric) request rate"',
};
const serviceTrouble: FailureRow = {
  kind: 'transient',
  group: 'service',
  retry: 'until-deadline',
  hint: 'KMS has trouble in this Region; see the AWS Health Dashboard',
};
const unreachable: FailureRow = {
  kind: 'transient',
  group: 'network',
  retry: 'until-deadline',
  hint: 'the server must reach the KMS endpoint: check aws_key_management_region, aws_key_management_endpoint_url, DNS, routes, security groups, proxy variables and, under SELinux, `setsebool -P mysql_connect_any 1`',
};
const untrusted: FailureRow = {
  kind: 'operator',
  group: 'tls',
  retry: 'no',
  hint: "the endpoint's certificate is not trusted: check aws_key_management_endpoint_url, the clock, and AWS_CA_BUNDLE when a proxy opens TLS",
};
const noTls: FailureRow = {
  kind: 'operator',
  group: 'tls',
  retry: 'no',
  hint: 'the endpoint does not speak TLS, or not as it should (1.2 or newer): check aws_key_management_endpoint_url (https or http?) and the proxy',
};
const badCredentials: FailureRow = {
  kind: 'operator',
  group: 'credentials',
  retry: 'no',
  hint: "AWS does not know these credentials: check the access key, the session token and the Region's partition",
};
const expiredCredentials: FailureRow = {
  kind: 'operator',
  group: 'credentials',
  retry: 'briefly',
  hint: 'the credentials have expired: renew them where the agent finds them (role, session token, shared credentials file, web identity token)',
};
const noCredentials: FailureRow = {
  kind: 'operator',
  group: 'credentials',
  retry: 'briefly',
  hint: 'give the server an identity: an instance, task or pod role, or a file that AWS_SHARED_CREDENTIALS_FILE names in its unit (/etc/mariadb-aws-kms/credentials; the drop-in is /usr/share/mariadb-aws-kms/mariadb-aws-kms.conf)',
};
const unreadableAnswer: FailureRow = {
  kind: 'transient',
  group: 'answer',
  retry: 'until-deadline',
  hint: 'something that is not KMS answered: check aws_key_management_endpoint_url and the proxy between here and KMS',
};
const proxyTrouble: FailureRow = {
  kind: 'transient',
  group: 'proxy',
  retry: 'until-deadline',
  hint: 'the proxy does not let the call through: check HTTPS_PROXY, its credentials and its rules, or put the endpoint into NO_PROXY',
};
const refusedSignature: FailureRow = {
  kind: 'operator',
  group: 'signature',
  retry: 'briefly',
  hint: 'the signature was refused: check the secret access key and that the clock of this machine is right (`timedatectl`)',
};
const badRequest: FailureRow = {
  kind: 'operator',
  group: 'request',
  retry: 'no',
  hint: 'check aws_key_management_master_key_id: it must name a symmetric encryption key (SYMMETRIC_DEFAULT, ENCRYPT_DECRYPT)',
};
const foreignKey: FailureRow = {
  kind: 'corrupt',
  group: 'wrapped-key',
  retry: 'no',
  hint: 'the file is not what KMS made for this key: restore it from a backup',
};

/**
 * Every way in which a KMS call fails, sorted by who has to act.
 * Names and meanings: AWS KMS API reference (error lists of Decrypt and GenerateDataKeyWithoutPlaintext, Common Errors),
 * Node.js (system and TLS error codes).
 */
export const FAILURE_TABLE: Readonly<Record<string, FailureRow>> = {
  ThrottlingException: throttled,
  Throttling: throttled,
  TooManyRequestsException: throttled,
  RequestLimitExceeded: throttled,
  LimitExceededException: throttled,
  KMSInternalException: serviceTrouble,
  DependencyTimeoutException: serviceTrouble,
  KeyUnavailableException: serviceTrouble,
  InternalFailure: serviceTrouble,
  InternalServerError: serviceTrouble,
  ServiceUnavailable: serviceTrouble,
  ServiceUnavailableException: serviceTrouble,
  DisabledException: {
    kind: 'operator',
    group: 'master-key',
    retry: 'no',
    hint: 'the master key is disabled: `aws kms enable-key --key-id ARN` with the ARN in this message',
  },
  KMSInvalidStateException: {
    kind: 'operator',
    group: 'master-key',
    retry: 'no',
    hint: "look at the master key's state: `aws kms describe-key --key-id ARN`; a key pending deletion is saved by `aws kms cancel-key-deletion` and `aws kms enable-key`; a key pending import needs its key material (`aws kms import-key-material`)",
  },
  /** KMSInvalidStateException whose text mentions the key store, or a state that ends by itself. */
  MasterKeyUnavailable: {
    kind: 'transient',
    group: 'master-key',
    retry: 'until-deadline',
    hint: 'look at the master key (`aws kms describe-key --key-id ARN`) and, in an external or CloudHSM key store, at that (`aws kms describe-custom-key-stores`), its proxy and its key manager',
  },
  NotFoundException: {
    kind: 'operator',
    group: 'master-key',
    retry: 'no',
    hint: 'no such master key here: check aws_key_management_master_key_id and aws_key_management_region; keys and aliases exist in one Region only',
  },
  AccessDeniedException: {
    kind: 'operator',
    group: 'permission',
    retry: 'no',
    hint: 'the identity needs kms:GenerateDataKeyWithoutPlaintext and kms:Decrypt on the master key, in its IAM policy or the key policy; KMS answers the same when the key does not exist in this Region',
  },
  IncorrectKeyException: foreignKey,
  InvalidCiphertextException: foreignKey,
  InvalidKeyUsageException: badRequest,
  InvalidArnException: badRequest,
  ValidationException: badRequest,
  UnsupportedOperationException: badRequest,
  InvalidGrantTokenException: badRequest,
  ExpiredTokenException: expiredCredentials,
  ExpiredToken: expiredCredentials,
  UnrecognizedClientException: badCredentials,
  InvalidClientTokenId: badCredentials,
  OptInRequired: { ...badCredentials, group: 'opt-in' },
  NotAuthorized: badCredentials,
  IncompleteSignature: badCredentials,
  IncompleteSignatureException: badCredentials,
  MissingAuthenticationToken: badCredentials,
  MissingAuthenticationTokenException: badCredentials,
  InvalidSignatureException: refusedSignature,
  SignatureDoesNotMatch: refusedSignature,
  RequestExpired: refusedSignature,
  RequestTimeTooSkewed: refusedSignature,
  /** InvalidSignatureException of KMS and SignatureDoesNotMatch of STS whose text names the Region. */
  RegionNotServed: {
    kind: 'operator',
    group: 'region',
    retry: 'no',
    hint: 'the endpoint serves another Region than the one asked for: check aws_key_management_region (AWS_REGION, the profile) against aws_key_management_endpoint_url',
  },
  CredentialsProviderError: noCredentials,
  ...CREDENTIAL_FAILURES,
  ECONNREFUSED: unreachable,
  ECONNRESET: unreachable,
  ECONNABORTED: unreachable,
  EPIPE: unreachable,
  ETIMEDOUT: unreachable,
  EHOSTUNREACH: unreachable,
  ENETUNREACH: unreachable,
  ENETDOWN: unreachable,
  ENOTFOUND: unreachable,
  EAI_AGAIN: unreachable,
  TimeoutError: unreachable,
  EMFILE: {
    kind: 'transient',
    group: 'process',
    retry: 'until-deadline',
    hint: 'the agent has no file descriptors left: raise LimitNOFILE of the server',
  },
  EACCES: unreachable,
  EPERM: unreachable,
  EPROTO: noTls,
  CERT_HAS_EXPIRED: untrusted,
  CERT_NOT_YET_VALID: untrusted,
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  UNABLE_TO_GET_ISSUER_CERT: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
  ERR_TLS_CERT_ALTNAME_INVALID: untrusted,
  /** An answer that is not KMS's, or is incomplete: proxies and gateways send HTML or XML. */
  UnreadableAnswer: unreadableAnswer,
  ERR_PROXY_TUNNEL: proxyTrouble,
  /** The row for status 407. It is not retried: a repeated wrong password locks the account. */
  [PROXY_REFUSED]: {
    kind: 'operator',
    group: 'proxy',
    retry: 'no',
    hint: 'the proxy does not accept its user and password: correct them in HTTPS_PROXY (percent-encoded) where the agent was started, or put the endpoint into NO_PROXY; the proxy is asked again after 30 seconds',
  },
};

const unknown: FailureRow = {
  kind: 'other',
  group: 'unknown',
  retry: 'no',
  hint: 'look the error up in the AWS KMS API reference',
};

export function isThrottling({ group, status }: KmsFailure): boolean {
  return group === 'throttling' || status === 429;
}

const CREDENTIAL_GROUPS: ReadonlySet<FailureGroup> = new Set([
  'credentials',
  'signature',
  'multi-factor',
  'session-credentials',
  'opt-in',
]);

/** Tells whether other credentials would help. */
export function isCredentialFailure({ group }: KmsFailure): boolean {
  return CREDENTIAL_GROUPS.has(group);
}

/**
 * Error names of KMS and STS whose meaning depends on the text, with the row for each.
 * https://docs.aws.amazon.com/kms/latest/developerguide/xks-troubleshooting.html: for keys in an external key store KMS
 * answers every failure with KMSInvalidStateException, including a wrong encryption context.
 */
const TOLD_APART: readonly (readonly [name: RegExp, text: RegExp, row: string])[] = [
  [/^KMSInvalidStateException$/, /ciphertext.*(?:corrupt|invalid)/i, 'InvalidCiphertextException'],
  // A timeout of the key store's proxy has this name, too.
  [/^KMSInternalException$/, /key store/i, 'MasterKeyUnavailable'],
  [
    /^KMSInvalidStateException$/,
    /\bretry\b|transient|temporar|key store|CloudHSM|\bis (?:unavailable|creating|updating)\b|\bstate:? (?:is )?(?:Unavailable|Creating|Updating)\b/i,
    'MasterKeyUnavailable',
  ],
  [
    /^(?:InvalidSignatureException|SignatureDoesNotMatch|IncompleteSignature(?:Exception)?)$/,
    /scoped to a valid region/i,
    'RegionNotServed',
  ],
];

/** Texts that change the group only; name and row stay. */
const GROUPS_TOLD_APART: readonly (readonly [name: RegExp, text: RegExp, group: FailureGroup])[] = [
  [/^KMSInvalidStateException$/, /pending (?:replica )?deletion/, 'pending-deletion'],
  [/^AccessDenied$/, /MultiFactorAuthentication failed/, 'multi-factor'],
  [/^AccessDenied$/, /session credentials/, 'session-credentials'],
];

const ARN_OR_ACTION = /arn:[\w-]+:kms:[\w-]+:\d{12}:key\/[\w-]+|\bkms:\w+/g;

function rowNameOf(name: string, text: string): string {
  return TOLD_APART.find(([names, pattern]) => names.test(name) && pattern.test(text))?.[2] ?? name;
}

/** Classifies an error of the AWS SDK, of Node.js, or of the embedded KMS. */
export function classifyKmsFailure(thrown: unknown): KmsFailure {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const metadata = readMetadata('$metadata' in error ? error.$metadata : undefined);
  const known = isProxyRefusal(error) || metadata.status === 407 ? PROXY_REFUSED : nameOf(error);
  const unreadable = isUnreadable(error, known, metadata);
  const text = firstLine(textOf(error));
  const name = unreadable ? 'UnreadableAnswer' : rowNameOf(known, text);
  // The service's own name is included, because people search for it.
  const message = unreadable ? whatCame(error, metadata.status) : name === known ? text : `${known}: ${text}`;
  const row =
    FAILURE_TABLE[name] ??
    systemFailure(name) ??
    (metadata.status === 429 ? throttled : metadata.status >= 500 ? serviceTrouble : unknown);
  const group = GROUPS_TOLD_APART.find(([names, pattern]) => names.test(known) && pattern.test(text))?.[2] ?? row.group;
  const about = unreadable ? [] : (text.match(ARN_OR_ACTION) ?? []);
  return { ...row, ...metadata, group, name, message, about };
}

function isUnreadable(error: Error, name: string, { status, requestId }: AnswerMetadata): boolean {
  // The error of JSON.parse.
  if (error instanceof SyntaxError) return true;
  // Every answer of KMS has a request id.
  return status !== 0 && requestId === '' && !Object.hasOwn(FAILURE_TABLE, name);
}

/** Describes an answer without JSON.parse's text, which quotes input and may contain part of a data key. */
function whatCame(error: Error, status: number): string {
  const said = error instanceof SyntaxError ? 'no JSON' : firstLine(error.message) || 'no error of KMS';
  return [status === 0 ? '' : `HTTP ${status}`, headerOf(error, 'content-type') ?? '', said]
    .filter((part) => part !== '')
    .join(', ');
}

/** The row of a Node.js error code without a row of its own. */
function systemFailure(name: string): FailureRow | undefined {
  if (name.startsWith('ERR_SSL_')) return noTls;
  if (/^(?:CERT_|UNABLE_TO_|INVALID_CA$|ERR_TLS_)/.test(name)) return untrusted;
  if (name.startsWith('HPE_')) return unreadableAnswer;
  return /^(?:E[A-Z0-9]+|EAI_[A-Z]+|ERR_SOCKET_[A-Z_]+|ERR_HTTP_[A-Z_]+)$/.test(name) ? unreachable : undefined;
}

function nameOf(error: Error): string {
  const code = systemErrorCode(error);
  // Checked first: the SDK gives a broken connection (ECONNRESET, EPIPE, ETIMEDOUT) the name of its own timeouts.
  const ownLimit = error.message.startsWith('@smithy/');
  if (code !== undefined && !ownLimit && Object.hasOwn(FAILURE_TABLE, code)) return code;
  if (Object.hasOwn(FAILURE_TABLE, error.name)) return error.name;
  // Happy-eyeballs failures arrive as an AggregateError around one error per address.
  if (error instanceof AggregateError && error.errors[0] instanceof Error) return nameOf(error.errors[0]);
  if (error.cause instanceof Error && error.name === 'Error') return nameOf(error.cause);
  return code ?? error.name;
}

/** `DisabledException: arn:... is disabled. (request 1f2e...)` */
export function describeFailure({ name, message, requestId }: KmsFailure): string {
  return `${message === '' ? name : `${name}: ${message}`}${inRequest(requestId)}`;
}

export function inRequest(requestId: string): string {
  return requestId === '' ? '' : ` (request ${requestId})`;
}

/**
 * Returns the milliseconds that x-amz-retry-after or Retry-After asks to wait; 0 without them. A date in it is compared
 * with the answer's Date, because our clock may be wrong.
 * @param wallMs our clock, for an answer without Date
 */
export function retryAfterOf(thrown: unknown, wallMs: number): number {
  const askedMs = headerOf(thrown, 'x-amz-retry-after') ?? '';
  if (/^\d+$/.test(askedMs)) return Math.min(Number(askedMs), LONGEST_RETRY_AFTER_MS);
  const asked = headerOf(thrown, 'retry-after');
  if (asked === undefined) return 0;
  const sentMs = httpDate(headerOf(thrown, 'date')) ?? wallMs;
  const waitMs = /^\d+$/.test(asked) ? Number(asked) * 1000 : (httpDate(asked) ?? sentMs) - sentMs;
  return Math.min(Math.max(waitMs, 0), LONGEST_RETRY_AFTER_MS);
}

/**
 * Returns the service's clock, in milliseconds since 1970, from a refused signature; undefined: no plausible time. A
 * cached answer (Age) has no current time.
 */
export function refusedAt({ group }: KmsFailure, thrown: unknown): number | undefined {
  if (group !== 'signature') return undefined;
  return headerOf(thrown, 'age') === undefined ? httpDate(headerOf(thrown, 'date')) : undefined;
}

function headerOf(thrown: unknown, name: string): string | undefined {
  const response: unknown =
    typeof thrown === 'object' && thrown !== null && '$response' in thrown ? thrown.$response : undefined;
  if (typeof response !== 'object' || response === null || !('headers' in response)) return undefined;
  const { headers } = response;
  if (typeof headers !== 'object' || headers === null) return undefined;
  const value: unknown = new Map(Object.entries(headers)).get(name);
  return typeof value === 'string' ? value.trim() : undefined;
}

function textOf(error: Error): string {
  // The error of a host with several addresses.
  if (error.message === '' && error instanceof AggregateError) {
    return error.errors.map((each: unknown) => (each instanceof Error ? each.message : String(each))).join('; ');
  }
  // Removes advice of Node.js that does not apply here.
  return error.message.replace(/; if the root CA is installed locally, try running Node\.js with .*/, '');
}

function firstLine(message: string): string {
  // The SDK's text where KMS sends none, as with InvalidCiphertextException.
  if (message === 'UnknownError') return '';
  const line = message.split('\n', 1)[0] ?? '';
  // The text is cut between words, because half a secret would not be recognised.
  return line.length <= LONGEST_MESSAGE ? line : line.slice(0, LONGEST_MESSAGE).replace(/\S*$/, '…');
}
