import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ALGORITHM_PAIR,
  algorithmOf,
  keyContext,
  parseEncryptionContext,
} from '../../../src/format/encryption-context.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { expectKeyError } from '../../support/expect-error.ts';

describe('aws_key_management_encryption_context', () => {
  it.each([
    ['', {}],
    ['  ', {}],
    ['cluster=orders', { cluster: 'orders' }],
    [' a = 1 , b=two words ', { a: '1', b: 'two words' }],
  ])('%j is read', (text, context) => {
    expect(parseEncryptionContext(text)).toEqual(context);
  });

  it.each([
    ['a', /"a" is no name=value pair$/],
    ['a=', /"a=" is no name=value pair$/],
    ['=b', /"=b" is no name=value pair$/],
    ['a=b=c', /"a=b=c" is no name=value pair$/],
    ['a=b,', /"" is no name=value pair$/],
    ['a=b,a=c', /the name "a" comes twice$/],
    ['a=ä', /has characters other than printable ASCII$/],
    ['a=b\tc', /has characters other than printable ASCII$/],
    ['aws:a=b', /the name "aws:a" is reserved$/],
    ['mariadb-aws-kms:key-id=3', /the name "mariadb-aws-kms:key-id" is reserved$/],
    [`a=${'b'.repeat(5000)}`, /expected at most 2048 characters, got 5002$/],
  ])('%j is refused as malformed, never dropped', async (text, message) => {
    const error = await expectKeyError(() => parseEncryptionContext(text), 'BAD_OPTION', message);
    expect(error.message).toMatch(/^aws_key_management_encryption_context: /);
    expect(error.hint).toContain('cluster=orders');
  });

  it('round-trips', () => {
    const word = fc
      .stringMatching(/^[a-z][a-zA-Z0-9 _./:@-]{0,20}[a-z]$/)
      .filter((text) => !/^(aws|mariadb-aws-kms):/.test(text));
    fc.assert(
      fc.property(fc.dictionary(word, word, { maxKeys: 6, noNullPrototype: true }), (context) => {
        const text = Object.entries(context)
          .map(([name, value]) => `${name}=${value}`)
          .join(',');
        expect(parseEncryptionContext(text)).toEqual(context);
      }),
    );
  });

  it("is extended by a key's id and version, and stays empty when it is", () => {
    const name = { id: keyId(7), version: keyVersion(3) };
    expect(keyContext({ a: 'b' }, name, 'AES_CBC')).toEqual({
      a: 'b',
      'mariadb-aws-kms:key-id': '7',
      'mariadb-aws-kms:key-version': '3',
    });
    expect(keyContext({}, name, 'AES_CBC')).toEqual({});
  });

  it('is extended by id, version and algorithm for AES_CTR, also when it is empty', () => {
    const name = { id: keyId(7), version: keyVersion(3) };
    const bound = {
      'mariadb-aws-kms:key-id': '7',
      'mariadb-aws-kms:key-version': '3',
      'mariadb-aws-kms:encryption-algorithm': 'AES_CTR',
    };
    expect(keyContext({}, name, 'AES_CTR')).toEqual(bound);
    expect(keyContext({ a: 'b' }, name, 'AES_CTR')).toEqual({ a: 'b', ...bound });
  });

  it('determines the algorithm, and an unknown one is refused', async () => {
    expect(algorithmOf({})).toBe('AES_CBC');
    expect(algorithmOf({ a: 'AES_CTR' })).toBe('AES_CBC');
    expect(algorithmOf({ [ALGORITHM_PAIR]: 'AES_CTR' })).toBe('AES_CTR');
    for (const pair of ['AES_CBC ', 'aes_ctr', '', 'AES_XTS']) {
      await expectKeyError(
        () => algorithmOf({ [ALGORITHM_PAIR]: pair }),
        'KEY_FILE_CORRUPT',
        `its encryption context names an algorithm that is not known: "${pair}"`,
      );
    }
  });
});
