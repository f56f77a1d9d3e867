import { describe, expect, it } from 'vitest';
import { KeyError } from '../../../../src/errors.ts';
import { classifyKmsFailure, FAILURE_TABLE, isCredentialFailure } from '../../../../src/kms/failures/classify.ts';
import { kmsError } from '../../../support/scripted-kms.ts';

const EXPECTED: Readonly<Record<string, readonly [kind: string, retry: string, hint: RegExp]>> = {
  ThrottlingException: ['transient', 'until-deadline', /quota/],
  Throttling: ['transient', 'until-deadline', /quota/],
  TooManyRequestsException: ['transient', 'until-deadline', /quota/],
  RequestLimitExceeded: ['transient', 'until-deadline', /quota/],
  LimitExceededException: ['transient', 'until-deadline', /quota/],
  KMSInternalException: ['transient', 'until-deadline', /Health Dashboard/],
  DependencyTimeoutException: ['transient', 'until-deadline', /Health Dashboard/],
  KeyUnavailableException: ['transient', 'until-deadline', /Health Dashboard/],
  InternalFailure: ['transient', 'until-deadline', /Health Dashboard/],
  InternalServerError: ['transient', 'until-deadline', /Health Dashboard/],
  ServiceUnavailable: ['transient', 'until-deadline', /Health Dashboard/],
  ServiceUnavailableException: ['transient', 'until-deadline', /Health Dashboard/],
  DisabledException: ['operator', 'no', /enable-key/],
  KMSInvalidStateException: ['operator', 'no', /cancel-key-deletion/],
  MasterKeyUnavailable: ['transient', 'until-deadline', /external or CloudHSM key store/],
  NotFoundException: ['operator', 'no', /one Region only/],
  AccessDeniedException: ['operator', 'no', /kms:GenerateDataKeyWithoutPlaintext and kms:Decrypt/],
  IncorrectKeyException: ['corrupt', 'no', /restore it from a backup/],
  InvalidCiphertextException: ['corrupt', 'no', /restore it from a backup/],
  InvalidKeyUsageException: ['operator', 'no', /SYMMETRIC_DEFAULT/],
  InvalidArnException: ['operator', 'no', /aws_key_management_master_key_id/],
  ValidationException: ['operator', 'no', /aws_key_management_master_key_id/],
  UnsupportedOperationException: ['operator', 'no', /aws_key_management_master_key_id/],
  InvalidGrantTokenException: ['operator', 'no', /aws_key_management_master_key_id/],
  ExpiredTokenException: ['operator', 'briefly', /expired/],
  ExpiredToken: ['operator', 'briefly', /expired/],
  UnrecognizedClientException: ['operator', 'no', /access key/],
  InvalidClientTokenId: ['operator', 'no', /access key/],
  OptInRequired: ['operator', 'no', /access key/],
  NotAuthorized: ['operator', 'no', /access key/],
  IncompleteSignature: ['operator', 'no', /access key/],
  IncompleteSignatureException: ['operator', 'no', /access key/],
  MissingAuthenticationToken: ['operator', 'no', /access key/],
  MissingAuthenticationTokenException: ['operator', 'no', /access key/],
  InvalidSignatureException: ['operator', 'briefly', /clock/],
  SignatureDoesNotMatch: ['operator', 'briefly', /clock/],
  RequestExpired: ['operator', 'briefly', /clock/],
  RequestTimeTooSkewed: ['operator', 'briefly', /clock/],
  RegionNotServed: ['operator', 'no', /aws_key_management_region/],
  AccessDenied: ['operator', 'briefly', /trust policy/],
  InvalidIdentityTokenException: ['operator', 'briefly', /AWS_WEB_IDENTITY_TOKEN_FILE/],
  IDPCommunicationErrorException: ['operator', 'briefly', /AWS_WEB_IDENTITY_TOKEN_FILE/],
  IDPRejectedClaimException: ['operator', 'briefly', /AWS_WEB_IDENTITY_TOKEN_FILE/],
  WebIdentityIncomplete: ['operator', 'briefly', /AWS_ROLE_ARN/],
  WebIdentityTokenUnreadable: ['operator', 'briefly', /may read the file/],
  EMFILE: ['transient', 'until-deadline', /LimitNOFILE/],
  ProxyAuthenticationRequired: ['operator', 'no', /HTTPS_PROXY/],
  ERR_PROXY_TUNNEL: ['transient', 'until-deadline', /HTTPS_PROXY/],
  EPROTO: ['operator', 'no', /does not speak TLS/],
  CredentialsProviderError: ['operator', 'briefly', /identity/],
  PartialEnvironment: ['operator', 'briefly', /set both/],
  PartialProfile: ['operator', 'briefly', /both aws_access_key_id/],
  CredentialsMalformed: ['operator', 'briefly', /echo -n/],
  SharedFileUnreadable: ['operator', 'briefly', /AWS_SHARED_CREDENTIALS_FILE/],
  ProfileUnusable: ['operator', 'briefly', /AWS_PROFILE/],
  CredentialProcessFailed: ['operator', 'briefly', /by hand/],
  CredentialsTimeout: ['transient', 'until-deadline', /timeout 20/],
  SsoSessionExpired: ['operator', 'briefly', /aws sso login/],
  LoginSessionUnusable: ['operator', 'briefly', /`aws login`.*12 hours/],
  SsoRefused: ['operator', 'briefly', /sso_role_name/],
  MfaRequired: ['operator', 'briefly', /mariadb-aws-kms login/],
  CredentialServiceUnreachable: ['transient', 'until-deadline', /AWS_ENDPOINT_URL_STS/],
  CredentialServiceTrouble: ['transient', 'until-deadline', /Health Dashboard/],
  RegionDisabledException: ['operator', 'no', /activate STS/],
  ValidationError: ['operator', 'briefly', /ARN of the role/],
  ContainerEndpointRefused: ['operator', 'briefly', /Pod Identity association/],
  ContainerTokenUnreadable: ['operator', 'briefly', /AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE/],
  ContainerEndpointTrouble: ['transient', 'until-deadline', /ECS agent/],
  InstanceMetadataHopLimit: ['operator', 'briefly', /--http-put-response-hop-limit 2/],
  InstanceMetadataOff: ['operator', 'briefly', /--http-endpoint enabled/],
  InstanceMetadataV1Only: ['operator', 'briefly', /IMDSv2/],
  InstanceMetadataNoRole: ['operator', 'briefly', /associate-iam-instance-profile/],
  InstanceMetadataUnreachable: ['operator', 'briefly', /AWS_EC2_METADATA_SERVICE_ENDPOINT/],
  InstanceMetadataTrouble: ['transient', 'until-deadline', /recovers/],
  ECONNREFUSED: ['transient', 'until-deadline', /security groups/],
  ECONNRESET: ['transient', 'until-deadline', /security groups/],
  ECONNABORTED: ['transient', 'until-deadline', /security groups/],
  EPIPE: ['transient', 'until-deadline', /security groups/],
  ETIMEDOUT: ['transient', 'until-deadline', /security groups/],
  EHOSTUNREACH: ['transient', 'until-deadline', /security groups/],
  ENETUNREACH: ['transient', 'until-deadline', /security groups/],
  ENETDOWN: ['transient', 'until-deadline', /security groups/],
  ENOTFOUND: ['transient', 'until-deadline', /DNS/],
  EAI_AGAIN: ['transient', 'until-deadline', /DNS/],
  TimeoutError: ['transient', 'until-deadline', /security groups/],
  EACCES: ['transient', 'until-deadline', /SELinux/],
  EPERM: ['transient', 'until-deadline', /SELinux/],
  CERT_HAS_EXPIRED: ['operator', 'no', /certificate/],
  CERT_NOT_YET_VALID: ['operator', 'no', /certificate/],
  DEPTH_ZERO_SELF_SIGNED_CERT: ['operator', 'no', /certificate/],
  SELF_SIGNED_CERT_IN_CHAIN: ['operator', 'no', /certificate/],
  UNABLE_TO_GET_ISSUER_CERT: ['operator', 'no', /certificate/],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ['operator', 'no', /certificate/],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ['operator', 'no', /certificate/],
  ERR_TLS_CERT_ALTNAME_INVALID: ['operator', 'no', /certificate/],
  UnreadableAnswer: ['transient', 'until-deadline', /not KMS/],
};

describe('a failed KMS call', () => {
  it('has an expectation in this test for every row of the table', () => {
    expect(Object.keys(FAILURE_TABLE).sort()).toEqual(Object.keys(EXPECTED).sort());
  });

  it.each(Object.entries(EXPECTED))('%s is sorted by who has to act', (name, [kind, retry, hint]) => {
    const failure = classifyKmsFailure(kmsError(name, 'what KMS said'));
    expect(failure).toMatchObject({
      kind,
      retry,
      name,
      message: 'what KMS said',
      requestId: `request-of-${name}`,
      status: 400,
    });
    expect(failure.hint).toMatch(hint);
  });

  it.each(['ECONNREFUSED', 'EAI_AGAIN', 'CERT_HAS_EXPIRED'])('%s is found in the code of a Node error', (code) => {
    expect(classifyKmsFailure(Object.assign(new Error(`connect ${code}`), { code }))).toMatchObject({
      name: code,
      requestId: '',
      status: 0,
    });
  });

  it('is found behind the error of several addresses', () => {
    const inner = Object.assign(new Error('connect ECONNREFUSED ::1'), { code: 'ECONNREFUSED' });
    expect(classifyKmsFailure(new AggregateError([inner], ''))).toMatchObject({
      kind: 'transient',
      name: 'ECONNREFUSED',
    });
  });

  it('is found behind a wrapping error', () => {
    const inner = Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' });
    expect(classifyKmsFailure(new Error('request failed', { cause: inner }))).toMatchObject({ name: 'ENOTFOUND' });
  });

  it('with an unknown name and status 5xx or 429 is transient', () => {
    expect(classifyKmsFailure(kmsError('Odd', 'x', 503))).toMatchObject({ kind: 'transient', retry: 'until-deadline' });
    expect(classifyKmsFailure(kmsError('Odd', 'x', 429))).toMatchObject({ kind: 'transient', retry: 'until-deadline' });
  });

  it.each([
    ['EHOSTDOWN', 'transient', /security groups/],
    ['EAI_FAIL', 'transient', /security groups/],
    ['ERR_SOCKET_CONNECTION_TIMEOUT', 'transient', /security groups/],
    ['HPE_INVALID_CONSTANT', 'transient', /not KMS/],
    ['CERT_REVOKED', 'operator', /certificate/],
    ['UNABLE_TO_GET_CRL', 'operator', /certificate/],
    ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'operator', /speak TLS/],
  ])('with the code %s is sorted by the kind of the code', (code, kind, hint) => {
    const failure = classifyKmsFailure(Object.assign(new Error('x'), { code }));
    expect(failure).toMatchObject({ name: code, kind });
    expect(failure.hint).toMatch(hint);
  });

  it('that other credentials would cure is recognised', () => {
    const helps = (name: string) => isCredentialFailure(classifyKmsFailure(kmsError(name)));
    expect(
      [
        'ExpiredTokenException',
        'UnrecognizedClientException',
        'CredentialsProviderError',
        'InvalidSignatureException',
        'CredentialsTimeout',
      ].every(helps),
    ).toBe(true);
    expect(['AccessDeniedException', 'ThrottlingException', 'DisabledException', 'Odd'].some(helps)).toBe(false);
  });

  it('that is unknown is not retried', () => {
    expect(classifyKmsFailure(kmsError('NewException'))).toMatchObject({ kind: 'other', retry: 'no' });
    expect(classifyKmsFailure('text')).toMatchObject({ kind: 'other', message: 'text' });
  });

  it('whose answer was no JSON is named, and not quoted', () => {
    const thrown = new SyntaxError('Unexpected token \'<\', ..."AAECAwQF",<"... is not valid JSON');
    expect(classifyKmsFailure(thrown)).toMatchObject({ name: 'UnreadableAnswer', message: 'no JSON' });
  });
});

it('has a long message cut between two words', () => {
  const message = `${'x'.repeat(900)} ${'secret'.repeat(50)}`;
  expect(classifyKmsFailure(new Error(message)).message).toBe(`${'x'.repeat(900)} …`);
  expect(classifyKmsFailure(new Error('y'.repeat(1000))).message).toBe('y'.repeat(1000));
});

describe('KMSInvalidStateException', () => {
  const arn = 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
  it.each([
    'KMS rejected the request because the external key store proxy did not respond in time. Retry the request. If you see this error repeatedly, report it to your external key store proxy administrator.',
    'KMS cannot communicate with the external key store proxy. This might be a transient failure. If you see this error repeatedly, verify that the proxy is active and functional.',
    'The custom key store is not connected to its CloudHSM cluster.',
    `${arn} is unavailable.`,
    `${arn} is creating.`,
  ])('that says "%s" is transient, and its hint names the key store', (text) => {
    const failure = classifyKmsFailure(kmsError('KMSInvalidStateException', text));
    expect(failure).toMatchObject({
      name: 'MasterKeyUnavailable',
      kind: 'transient',
      retry: 'until-deadline',
      message: `KMSInvalidStateException: ${text}`,
    });
    expect(failure.hint).toContain('aws kms describe-custom-key-stores');
  });

  it.each([
    `${arn} is pending deletion.`,
    `${arn} is pending replica deletion.`,
    `${arn} is pending import.`,
    'what nobody knows',
  ])('that says "%s" is for an operator', (text) => {
    const failure = classifyKmsFailure(kmsError('KMSInvalidStateException', text));
    expect(failure).toMatchObject({ name: 'KMSInvalidStateException', kind: 'operator', retry: 'no', message: text });
  });
});

it.each([
  'The external key store proxy rejected the request because the specified ciphertext or additional authenticated data is corrupted, missing, or otherwise invalid.',
  'The ciphertext that the external key store proxy submitted for decryption, or the encryption context, is corrupted, missing, or otherwise invalid.',
])('an external key store that says "%s" has another key or context', (text) => {
  const failure = classifyKmsFailure(kmsError('KMSInvalidStateException', text));
  expect(failure).toMatchObject({ name: 'InvalidCiphertextException', kind: 'corrupt', retry: 'no' });
});

it.each(['InvalidSignatureException', 'SignatureDoesNotMatch'])(
  '%s that names the Region is not blamed on the secret key',
  (name) => {
    const failure = classifyKmsFailure(
      kmsError(name, "Credential should be scoped to a valid region, not 'Frankfurt'."),
    );
    expect(failure).toMatchObject({ name: 'RegionNotServed', kind: 'operator', retry: 'no' });
    expect(failure.hint).toContain('aws_key_management_region');
    expect(failure.hint).not.toContain('secret');
  },
);

it.each([
  ['KMSInvalidStateException', 'arn:x is pending replica deletion.', 'pending-deletion'],
  ['KMSInvalidStateException', 'arn:x is pending import.', 'master-key'],
  ['AccessDenied', 'MultiFactorAuthentication failed with invalid MFA one time pass code.', 'multi-factor'],
  ['AccessDenied', 'Cannot call GetSessionToken with session credentials', 'session-credentials'],
  ['AccessDenied', 'not you', 'credentials'],
  ['AccessDeniedException', 'not you', 'permission'],
  ['OptInRequired', 'not here', 'opt-in'],
  ['CERT_REVOKED', 'x', 'tls'],
  ['Odd', 'x', 'unknown'],
])('%s that says "%s" is of the group %s', (name, text, group) => {
  expect(classifyKmsFailure(kmsError(name, text)).group).toBe(group);
});

it('the master keys and permissions that KMS names are values of the failure', () => {
  const arn = 'arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
  const text = `User: arn:aws:iam::111122223333:user/a is not authorized to perform: kms:ReEncryptTo on resource: ${arn}`;
  expect(classifyKmsFailure(kmsError('AccessDeniedException', text)).about).toEqual(['kms:ReEncryptTo', arn]);
  expect(classifyKmsFailure(kmsError('DisabledException', `${arn} is disabled.`)).about).toEqual([arn]);
  expect(classifyKmsFailure(kmsError('DisabledException', '')).about).toEqual([]);
});

it('an error that is made of another carries the same failure', () => {
  const failure = classifyKmsFailure(kmsError('DisabledException'));
  const error = new KeyError('KMS_OPERATOR', 'key 1: disabled', { failure });
  expect(new KeyError('KEYS_FAILED', 'none of 1', { cause: error }).failure).toBe(failure);
  expect(error.hinted('enable it')).toMatchObject({ code: 'KMS_OPERATOR', message: 'key 1: disabled', failure });
  expect(new KeyError('KEYS_FAILED', 'none of 1', { cause: new Error('x') }).failure).toBeUndefined();
});
