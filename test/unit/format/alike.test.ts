import { expect, it } from 'vitest';
import { KeyError } from '../../../src/errors.ts';
import { mergeAlike } from '../../../src/format/alike.ts';

const DENIED = 'KMS Decrypt failed: AccessDeniedException: no';

function denied(id: number, version: number): KeyError {
  const request = `request 0f${version}e4d5c-1111-4222-8333-944455556666`;
  return new KeyError(
    'KMS_OPERATOR',
    `key ${id} version ${version} (file aws-kms-key.${id}.${version}): ${DENIED} (${request})`,
    {
      hint: 'allow it',
    },
  );
}

function shown(errors: readonly KeyError[]): string[] {
  return mergeAlike(errors).map(({ code, message, hint }) => `${code} ${message}; ${hint}`);
}

it('fifteen versions that fail for one reason are one failure with their numbers', () => {
  const versions = Array.from({ length: 12 }, (_, index) => denied(1, index + 1));
  const errors = [...versions, denied(3, 9), denied(2, 1), denied(3, 7)].toReversed();
  expect(shown(errors)).toEqual([
    `KMS_OPERATOR key 1 versions 1-12, key 2 version 1, key 3 versions 7 and 9: ${DENIED} (request 0f1e4d5c-1111-4222-8333-944455556666); allow it`,
  ]);
});

it('a single failure stays as it is', () => {
  const error = denied(1, 2);
  expect(mergeAlike([error])).toEqual([error]);
  expect(mergeAlike([])).toEqual([]);
});

it('failures with another reason, code or fix stay apart, in the order of the first of each', () => {
  const throttled = new KeyError('KMS_TRANSIENT', 'key 1 version 3: throttled');
  const other = new KeyError('KMS_OPERATOR', denied(1, 4).message, { hint: 'do something else' });
  expect(mergeAlike([denied(1, 1), throttled, denied(1, 2), other]).map(({ code }) => code)).toEqual([
    'KMS_OPERATOR',
    'KMS_TRANSIENT',
    'KMS_OPERATOR',
  ]);
});

it('the files in the fixes of merged failures become a shell pattern', () => {
  const errors = [1, 2].map(
    (version) =>
      new KeyError(
        'KEY_FILE_MISSING',
        `key 5 version ${version}: its sidecar is there, aws-kms-key.5.${version} is gone`,
        {
          hint: `restore aws-kms-key.5.${version} from a backup`,
        },
      ),
  );
  expect(shown(errors)).toEqual([
    'KEY_FILE_MISSING key 5 versions 1-2: its sidecar is there, aws-kms-key.{5.1,5.2} is gone; restore aws-kms-key.{5.1,5.2} from a backup',
  ]);
});

it('keys with the same versions are one range, and a long list ends', () => {
  const hint = (id: number): string => `rotate it alone: SET GLOBAL aws_key_management_rotate_key=${id}`;
  const late = (id: number): KeyError => new KeyError('TIMEOUT', `key ${id} was not rotated`, { hint: hint(id) });
  expect(shown(Array.from({ length: 3000 }, (_, index) => late(index + 1)))).toEqual([
    'TIMEOUT keys 1-3000 was not rotated; rotate it alone: SET GLOBAL aws_key_management_rotate_key=ID',
  ]);
  expect(shown(Array.from({ length: 22 }, (_, index) => late(index * 2)))[0]).toMatch(
    /^TIMEOUT keys 0, 2, (?:\d+, ){17}38 and 2 more was not rotated; /,
  );
  expect(shown([denied(4, 1), denied(5, 1), denied(9, 2)])[0]).toContain('keys 4-5 version 1, key 9 version 2: ');
});

it('failures that name no key are merged only when they are the same', () => {
  const errors = ['disk full', 'disk full', 'disk gone'].map((text) => new KeyError('STORE_UNAVAILABLE', text));
  expect(mergeAlike(errors).map(({ message }) => message)).toEqual(['disk full', 'disk gone']);
});

it('another key that a message names is part of the reason', () => {
  const swapped = [
    [3, 4],
    [4, 3],
  ].map(
    ([own, other]) =>
      new KeyError('KEY_FILE_CORRUPT', `sidecar aws-kms-key.${own}.1.json: it describes key ${other} version 1`),
  );
  expect(mergeAlike(swapped)).toEqual(swapped);
});

it('the files that merged messages begin with are all named', () => {
  const unreadable = [1, 2].map(
    (version) => new KeyError('KEY_FILE_UNREADABLE', `cannot read aws-kms-key.7.${version} in /keys: EACCES`),
  );
  expect(shown(unreadable)).toEqual(['KEY_FILE_UNREADABLE cannot read aws-kms-key.{7.1,7.2} in /keys: EACCES; ']);
});

it('the order of the failures does not depend on which answer of KMS came first', () => {
  const unreadable = (version: number): KeyError =>
    new KeyError('STORE_UNAVAILABLE', `cannot read aws-kms-key.2.${version}`, { hint: 'chmod it' });
  const errors = [unreadable(2), new KeyError('INTERNAL', 'no key at all'), denied(10, 1), unreadable(1), denied(9, 3)];
  expect(shown(errors)).toEqual(shown(errors.toReversed()));
  expect(shown(errors)).toEqual([
    'STORE_UNAVAILABLE cannot read aws-kms-key.{2.1,2.2}; chmod it',
    expect.stringMatching(/^KMS_OPERATOR key 9 version 3, key 10 version 1: /),
    'INTERNAL no key at all; ',
  ]);
});
