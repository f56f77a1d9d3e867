import { describe, expect, it } from 'vitest';
import { ALGORITHM_PAIR } from '../../../src/format/encryption-context.ts';
import { formatSidecar, parseSidecar } from '../../../src/format/sidecar.ts';
import { writtenTime } from '../../../src/format/written-time.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { MASTER_KEY_ARN } from '../../support/scripted-kms.ts';

const name = { id: keyId(7), version: keyVersion(3) };
const sidecar = {
  masterKeyArn: MASTER_KEY_ARN,
  keySpec: 'AES_256',
  created: '2030-01-01T00:00:00.000Z',
  wrappedSha256: 'ab'.repeat(32),
  requestId: '1f2e3d4c-0000-1111-2222-333344445555',
  encryptionContext: { cluster: 'a', 'mariadb-aws-kms:key-id': '7', 'mariadb-aws-kms:key-version': '3' },
  keyCheckValue: '0123456789abcdef',
} as const;
const valid: Record<string, unknown> = JSON.parse(formatSidecar(name, sidecar));

describe('a sidecar', () => {
  it('round-trips', () => {
    expect(parseSidecar(name, formatSidecar(name, sidecar))).toEqual(sidecar);
  });

  it('may hold fields of a later release', () => {
    expect(parseSidecar(name, JSON.stringify({ ...valid, later: true }))).toEqual(sidecar);
  });

  it.each([
    ['', /it is not JSON$/],
    ['{"format":1', /it is not JSON$/],
    ['[]', /it is no JSON object$/],
    ['null', /it is no JSON object$/],
    [JSON.stringify({ ...valid, format: 2 }), /"format" expected 1, got 2$/],
    [JSON.stringify({ ...valid, encryptionContext: [] }), /"encryptionContext" is malformed$/],
    [JSON.stringify({ ...valid, encryptionContext: { a: 1 } }), /"encryptionContext" is malformed$/],
    [JSON.stringify({ ...valid, keyCheckValue: 'xyz' }), /"keyCheckValue" is missing or malformed$/],
    [JSON.stringify({ ...valid, keySpec: 'AES_512' }), /"keySpec" is missing or malformed$/],
    [JSON.stringify({ ...valid, masterKeyArn: 'alias/x' }), /"masterKeyArn" is missing or malformed$/],
    [JSON.stringify({ ...valid, masterKeyArn: 7 }), /"masterKeyArn" is missing or malformed$/],
    [JSON.stringify({ ...valid, wrappedSha256: 'AB'.repeat(32) }), /"wrappedSha256" is missing or malformed$/],
    [JSON.stringify({ ...valid, created: 'yesterday' }), /"created" is missing or malformed$/],
    [JSON.stringify({ ...valid, requestId: 'x\ny' }), /"requestId" is missing or malformed$/],
  ])('is refused when it is %s', async (text, message) => {
    const error = await expectKeyError(() => parseSidecar(name, text), 'KEY_FILE_CORRUPT', message);
    expect(error.message).toMatch(/^sidecar aws-kms-key\.7\.3\.json: /);
  });

  it('is readable whatever request ids KMS and proxies invent', () => {
    const odd = { ...sidecar, requestId: 'r'.repeat(300), replaces: { ...sidecar, requestId: 'a\nb\u00e9' } };
    const { replaces, requestId } = parseSidecar(name, formatSidecar(name, odd));
    expect(requestId).toBe('r'.repeat(256));
    expect(replaces?.requestId).toBe('a?b?');
  });

  it.each([
    [{ masterKeyArn: `arn:${'x'.repeat(2049)}` }, /"masterKeyArn" is missing or malformed$/],
    [{ created: '+010000-01-01T00:00:00.000Z' }, /"created" is missing or malformed$/],
    [{ encryptionContext: { ...sidecar.encryptionContext, a: 'x'.repeat(65_536) } }, /it is too long$/],
  ])('that could not be parsed is not written: %#', async (change, message) => {
    await expectKeyError(() => formatSidecar(name, { ...sidecar, ...change }), 'KMS_BAD_ANSWER', message);
  });

  it.each([
    [-1, '1970-01-01T00:00:00.000Z'],
    [8.64e15 + 1, '9999-12-31T00:00:00.000Z'],
    [Number.POSITIVE_INFINITY, '9999-12-31T00:00:00.000Z'],
    [1_893_456_000_000, '2030-01-01T00:00:00.000Z'],
  ])('has a year of four digits for a file of the time %s', (ms, time) => {
    expect(writtenTime(ms)).toBe(time);
  });

  it('names the algorithm only when that is not AES_CBC', () => {
    expect(valid).not.toHaveProperty('encryptionAlgorithm');
    const ctr = { ...sidecar, encryptionContext: { ...sidecar.encryptionContext, [ALGORITHM_PAIR]: 'AES_CTR' } };
    expect(JSON.parse(formatSidecar(name, ctr))).toMatchObject({ encryptionAlgorithm: 'AES_CTR' });
    expect(parseSidecar(name, formatSidecar(name, ctr))).toEqual(ctr);
  });

  it.each([
    [
      { encryptionAlgorithm: 'AES_CTR' },
      '"encryptionAlgorithm" is AES_CTR, its encryption context binds the key to AES_CBC',
    ],
    [
      { encryptionContext: { ...sidecar.encryptionContext, [ALGORITHM_PAIR]: 'AES_CTR' } },
      '"encryptionAlgorithm" is AES_CBC, its encryption context binds the key to AES_CTR',
    ],
    [
      {
        encryptionContext: { ...sidecar.encryptionContext, [ALGORITHM_PAIR]: 'AES_XTS' },
        encryptionAlgorithm: 'AES_XTS',
      },
      'its encryption context names an algorithm that is not known: "AES_XTS"',
    ],
  ])('edited to another algorithm is refused: %j', async (change, message) => {
    await expectKeyError(
      () => parseSidecar(name, JSON.stringify({ ...valid, ...change })),
      'KEY_FILE_CORRUPT',
      `sidecar aws-kms-key.7.3.json: ${message}`,
    );
  });

  it('of an early release has neither context nor key check value', () => {
    const { encryptionContext: _, keyCheckValue: __, ...early } = valid;
    expect(parseSidecar(name, JSON.stringify(early))).toEqual({
      ...sidecar,
      encryptionContext: {},
      keyCheckValue: undefined,
    });
  });

  it.each([
    [{ keyId: 8 }, 'it describes key 8 version 3'],
    [{ keyVersion: 4 }, 'it describes key 7 version 4'],
    [
      { encryptionContext: { 'mariadb-aws-kms:key-id': '8', 'mariadb-aws-kms:key-version': '3' } },
      'its encryption context binds the key to key 8 version 3',
    ],
    [{ encryptionContext: { a: 'b' } }, 'its encryption context binds the key to key undefined version undefined'],
  ])('of another key is recognised: %j', async (change, message) => {
    await expectKeyError(
      () => parseSidecar(name, JSON.stringify({ ...valid, ...change })),
      'KEY_FILE_SWAPPED',
      `sidecar aws-kms-key.7.3.json: ${message}`,
    );
  });
});
