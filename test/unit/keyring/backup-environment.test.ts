/** Failures that a mariadb-backup may owe to its environment, which differs from the server's. */
import { expect, it } from 'vitest';
import { KeyError } from '../../../src/errors.ts';
import { hintedForBackup } from '../../../src/keyring/backup-environment.ts';
import { classifyKmsFailure } from '../../../src/kms/failures/classify.ts';

function failed(name: string, status: number): KeyError {
  const cause = Object.assign(new Error('no'), { name, $metadata: { httpStatusCode: status, requestId: 'r' } });
  return new KeyError('KMS_OPERATOR', 'key 1 version 1: no', {
    hint: 'the usual one',
    cause,
    failure: classifyKmsFailure(cause),
  });
}

it.each([
  ['CredentialsProviderError', 0],
  ['ExpiredTokenException', 400],
  ['InstanceMetadataOff', 403],
  ['ECONNREFUSED', 0],
  ['NotFoundException', 400],
  ['AccessDeniedException', 400],
])('the hint for %s names the environment of a mariadb-backup', (name, status) => {
  const error = failed(name, status);
  const { code, message, hint, cause } = hintedForBackup(error, 'spawned');
  expect({ code, message, cause }).toEqual({ code: error.code, message: error.message, cause: error.cause });
  expect(hint).toMatch(/^mariadb-backup has the AWS_\* variables of whoever runs it\. .*; otherwise the usual one$/);
  expect(Buffer.byteLength(hint)).toBeLessThan(1024);
});

it('the hint of a separate agent names its identity, and no variables of the server', () => {
  const { hint } = hintedForBackup(failed('AccessDeniedException', 400), 'separate');
  expect(hint).toBe(
    'the AWS identity is that of the separate agent on the socket, whoever runs mariadb-backup: the variables of its service count; otherwise the usual one',
  );
});

it.each([
  ['DisabledException', 400],
  ['KMSInvalidStateException', 400],
  ['ThrottlingException', 400],
])('the hint for %s does not name the environment', (name, status) => {
  const error = failed(name, status);
  expect(hintedForBackup(error, 'spawned')).toBe(error);
});

it('the hint for a failure that is none of KMS does not name the environment', () => {
  const error = new KeyError('KEY_FILE_CORRUPT', 'key 1 version 1: damaged', { hint: 'restore it' });
  expect(hintedForBackup(error, 'spawned')).toBe(error);
});
