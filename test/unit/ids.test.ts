import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allowsKeyId, isKeyId, isKeyVersion, keyId, keyVersion, parseDecimal, parseKeyIdSet } from '../../src/ids.ts';
import { expectKeyError } from '../support/expect-error.ts';

describe('key ids and versions', () => {
  it('take the range of the server and nothing else', () => {
    expect([1, 3, 100_000, 4_294_967_295].every(isKeyId)).toBe(true);
    expect([0, -1, 1.5, 4_294_967_296, Number.NaN].some(isKeyId)).toBe(false);
    expect(isKeyVersion(4_294_967_294)).toBe(true);
    expect(isKeyVersion(4_294_967_295)).toBe(false);
  });

  it('refuse with a code', async () => {
    await expectKeyError(() => keyId(0), 'BAD_OPTION', 'key id: expected 1 to 4294967295, got 0');
    await expectKeyError(
      () => keyVersion(4_294_967_295),
      'BAD_OPTION',
      'key version: expected 1 to 4294967294, got 4294967295',
    );
  });

  it.each(['', '01', '+1', ' 1', '1 ', '0x1', '1e3', '-1', '42949672960000'])('do not read %j as a number', (text) => {
    expect(parseDecimal(text)).toBeUndefined();
  });
});

describe('aws_key_management_key_ids', () => {
  it('empty allows every id', () => {
    expect(allowsKeyId(parseKeyIdSet(''), keyId(4_294_967_295))).toBe(true);
    expect(allowsKeyId(parseKeyIdSet('  '), keyId(7))).toBe(true);
  });

  it.each([
    ['1-2,100-199', [1, 2, 100, 150, 199], [3, 99, 200]],
    [' 5 , 7 - 9 ', [5, 7, 8, 9], [4, 6, 10]],
    ['4294967295', [4_294_967_295], [4_294_967_294]],
  ])('%j allows its ids only', (text, allowed, refused) => {
    const set = parseKeyIdSet(text);
    expect(allowed.every((id) => allowsKeyId(set, keyId(id)))).toBe(true);
    expect(refused.some((id) => allowsKeyId(set, keyId(id)))).toBe(false);
  });

  it.each(['0', '1-', '-2', '1--2', '1-2-3', 'a', '1;2', '1,', '4294967296', '01'])('%j is malformed', async (text) => {
    const error = await expectKeyError(
      () => parseKeyIdSet(text),
      'BAD_OPTION',
      /^aws_key_management_key_ids: .* is not a key id or a range/,
    );
    expect(error.hint).toContain('1-2,100-199');
  });

  it('a range that ends before it begins is malformed', async () => {
    await expectKeyError(
      () => parseKeyIdSet('9-7'),
      'BAD_OPTION',
      'aws_key_management_key_ids: the range "9-7" ends before it begins',
    );
  });

  it('allows exactly the ids of the ranges it was written from', () => {
    const id = fc.integer({ min: 1, max: 0xffff_ffff });
    fc.assert(
      fc.property(fc.array(fc.tuple(id, id), { minLength: 1, maxLength: 5 }), id, (bounds, probe) => {
        const ranges = bounds.map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
        const set = parseKeyIdSet(ranges.map(([first, last]) => `${first}-${last}`).join(','));
        expect(allowsKeyId(set, keyId(probe))).toBe(ranges.some(([first, last]) => first <= probe && probe <= last));
      }),
    );
  });
});
