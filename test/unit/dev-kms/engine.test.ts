import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeContext } from '../../../src/dev-kms/ciphertext.ts';
import { createEmbeddedKms, KmsFault } from '../../../src/dev-kms/index.ts';

const region = 'us-east-1';
const keyId = 'alias/main';
const clock = { wallMs: () => Date.UTC(2026, 0, 1) };

function start(random = randomBytes) {
  const kms = createEmbeddedKms({ clock, randomBytes: random });
  const arn = kms.ensureAlias(region, keyId);
  return { kms, arn };
}

function fault(work: () => unknown): KmsFault {
  try {
    work();
  } catch (error) {
    if (error instanceof KmsFault) return error;
    throw error;
  }
  throw new Error('expected a KmsFault, got success');
}

const text = fc.string({ unit: 'grapheme', maxLength: 12 });
const context = fc.dictionary(text, text, { maxKeys: 6, noNullPrototype: true });

describe('in process', () => {
  test('a wrapped data key opens again, with its key, its material and the right length', () => {
    const { kms, arn } = start();
    for (const [keySpec, size] of [
      ['AES_128', 16],
      ['AES_256', 32],
    ] as const) {
      const made = kms.generateDataKeyWithoutPlaintext({ region, keyId, keySpec, encryptionContext: { a: 'b' } });
      expect(made.keyId).toBe(arn);
      expect(made.ciphertextBlob.length).toBeLessThanOrEqual(200);
      const opened = kms.decrypt({ region, ciphertextBlob: made.ciphertextBlob, keyId, encryptionContext: { a: 'b' } });
      expect(opened).toMatchObject({ keyId: arn, keyMaterialId: made.keyMaterialId });
      expect(opened.plaintext).toHaveLength(size);
    }
  });

  test('the embedded KMS refuses in AWS’s words', () => {
    const { kms } = start();
    const { ciphertextBlob } = kms.generateDataKeyWithoutPlaintext({ region, keyId, keySpec: 'AES_128' });
    expect(fault(() => kms.decrypt({ region, ciphertextBlob, encryptionContext: { no: 'way' } }))).toMatchObject({
      name: 'InvalidCiphertextException',
      message: '',
      status: 400,
    });
    expect(
      fault(() => kms.generateDataKeyWithoutPlaintext({ region, keyId: 'alias/none', keySpec: 'AES_128' })),
    ).toMatchObject({
      name: 'NotFoundException',
      message: 'Alias arn:aws:kms:us-east-1:111122223333:alias/none is not found.',
    });
    expect(fault(() => kms.call(region, { accessKeyId: '', denied: [] }, 'Sign', {}))).toMatchObject({
      name: 'UnknownOperationException',
      message: '',
    });
  });

  test('an alias of a disabled key, or of one scheduled for deletion, is kept', () => {
    const { kms, arn } = start();
    const caller = { accessKeyId: '', denied: [] };
    kms.call(region, caller, 'DisableKey', { KeyId: arn });
    expect(kms.ensureAlias(region, keyId)).toBe(arn);
    kms.call(region, caller, 'ScheduleKeyDeletion', { KeyId: arn });
    expect(kms.ensureAlias(region, keyId)).toBe(arn);
  });

  test('all randomness comes from the caller', () => {
    const counted = () => {
      let count = 0;
      return (size: number) => {
        count += 1;
        return Buffer.alloc(size, count);
      };
    };
    const [one, two] = [start(counted()), start(counted())];
    expect(one.arn).toBe(two.arn);
    const request = { region, keyId, keySpec: 'AES_256' } as const;
    expect(one.kms.generateDataKeyWithoutPlaintext(request)).toEqual(two.kms.generateDataKeyWithoutPlaintext(request));
  });

  test('a primary key starts its waiting period when its last replica is deleted', () => {
    let days = 0;
    const kms = createEmbeddedKms({ clock: { wallMs: () => clock.wallMs() + days * 86_400_000 }, randomBytes });
    const caller = { accessKeyId: '', denied: [] };
    const made = kms.call(region, caller, 'CreateKey', { MultiRegion: true });
    const { KeyId } = /"KeyId":"(?<KeyId>mrk-[0-9a-f]+)"/.exec(JSON.stringify(made))?.groups ?? {};
    const describeKey = () => kms.call(region, caller, 'DescribeKey', { KeyId })?.['KeyMetadata'];
    kms.call(region, caller, 'ReplicateKey', { KeyId, ReplicaRegion: 'eu-west-1' });
    kms.call(region, caller, 'ScheduleKeyDeletion', { KeyId, PendingWindowInDays: 10 });
    expect(describeKey()).toMatchObject({ KeyState: 'PendingReplicaDeletion', PendingDeletionWindowInDays: 10 });
    kms.call('eu-west-1', caller, 'ScheduleKeyDeletion', { KeyId, PendingWindowInDays: 7 });
    days = 8;
    const DeletionDate = (clock.wallMs() + 18 * 86_400_000) / 1000;
    expect(describeKey()).toMatchObject({ KeyState: 'PendingDeletion', DeletionDate });
    days = 19;
    expect(fault(describeKey).name).toBe('NotFoundException');
  });

  test('a malformed Region is refused before it reaches the state', () => {
    const { kms } = start();
    expect(() => kms.ensureAlias('constructor', keyId)).toThrow(
      expect.objectContaining({
        code: 'BAD_OPTION',
        message: 'region: expected a name such as us-east-1, got "constructor"',
      }),
    );
  });

  test('ARNs have the partition of their Region', () => {
    const { kms } = start();
    expect(kms.ensureAlias('cn-north-1', keyId)).toMatch(/^arn:aws-cn:kms:cn-north-1:/);
    expect(kms.ensureAlias('us-gov-west-1', keyId)).toMatch(/^arn:aws-us-gov:kms:us-gov-west-1:/);
  });
});

describe('properties', () => {
  test('every context round-trips, in any order, and no other opens the blob', () => {
    const { kms, arn } = start();
    fc.assert(
      fc.property(context, context, (right, other) => {
        const { ciphertextBlob } = kms.generateDataKeyWithoutPlaintext({
          region,
          keyId: arn,
          keySpec: 'AES_128',
          encryptionContext: right,
        });
        const reversed = Object.fromEntries(Object.entries(right).reverse());
        expect(kms.decrypt({ region, ciphertextBlob, encryptionContext: reversed }).plaintext).toHaveLength(16);
        if (encodeContext(other).equals(encodeContext(right))) return;
        expect(fault(() => kms.decrypt({ region, ciphertextBlob, encryptionContext: other })).name).toBe(
          'InvalidCiphertextException',
        );
      }),
    );
  });

  test('two contexts never authenticate the same bytes', () => {
    fc.assert(
      fc.property(context, context, (a, b) => {
        const same = JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort());
        expect(encodeContext(a).equals(encodeContext(b))).toBe(same);
      }),
    );
    // The encoding keeps the boundaries between name and value, and between pairs.
    expect(encodeContext({ ab: 'c' })).not.toEqual(encodeContext({ a: 'bc' }));
    expect(encodeContext({ a: 'b', c: 'd' })).not.toEqual(encodeContext({ a: 'bcd' }));
    expect(encodeContext({})).not.toEqual(encodeContext({ '': '' }));
  });

  test('any changed byte of a blob is refused', () => {
    const { kms } = start();
    const encryptionContext = { server: 'one' };
    const { ciphertextBlob } = kms.generateDataKeyWithoutPlaintext({
      region,
      keyId,
      keySpec: 'AES_256',
      encryptionContext,
    });
    fc.assert(
      fc.property(fc.nat({ max: ciphertextBlob.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = Uint8Array.from(ciphertextBlob, (byte, index) => (index === at ? byte ^ change : byte));
        const { name } = fault(() => kms.decrypt({ region, ciphertextBlob: changed, encryptionContext }));
        // A changed key id names a key that does not exist.
        expect(['InvalidCiphertextException', 'AccessDeniedException']).toContain(name);
      }),
      { numRuns: 2000 },
    );
    for (let size = 1; size < ciphertextBlob.length; size += 1) {
      const cut = ciphertextBlob.subarray(0, size);
      expect(fault(() => kms.decrypt({ region, ciphertextBlob: cut, encryptionContext })).name).toBe(
        'InvalidCiphertextException',
      );
    }
  });

  test('a lone surrogate is refused instead of being confused with another', () => {
    const { kms } = start();
    const encryptionContext = { '\ud800': 'x' };
    expect(
      fault(() => kms.generateDataKeyWithoutPlaintext({ region, keyId, keySpec: 'AES_128', encryptionContext })).name,
    ).toBe('SerializationException');
  });
});
