import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyFileName, parseFileName, sidecarFileName } from '../../../src/format/key-file-name.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';

const name = fc.record({
  id: fc.integer({ min: 1, max: 0xffff_ffff }).map(keyId),
  version: fc.integer({ min: 1, max: 0xffff_fffe }).map(keyVersion),
});

describe('names in a key directory', () => {
  it('round-trip for every id and version', () => {
    fc.assert(
      fc.property(name, (key) => {
        expect(parseFileName(keyFileName(key))).toEqual({ kind: 'wrapped-key', name: key });
        expect(parseFileName(sidecarFileName(key))).toEqual({ kind: 'sidecar', name: key });
      }),
    );
  });

  it('are complete where the original plugin cut them at 19 characters', () => {
    expect(keyFileName({ id: keyId(100_000), version: keyVersion(1) })).toBe('aws-kms-key.100000.1');
    expect(keyFileName({ id: keyId(1234), version: keyVersion(100) })).toBe('aws-kms-key.1234.100');
    expect(keyFileName({ id: keyId(4_294_967_295), version: keyVersion(4_294_967_294) })).toBe(
      'aws-kms-key.4294967295.4294967294',
    );
  });

  it.each([
    'aws-kms-key.01.1',
    'aws-kms-key.1.01',
    'aws-kms-key.1.1.tmp',
    'aws-kms-key.0.1',
    'aws-kms-key.1.0',
    'aws-kms-key.+1.1',
    'aws-kms-key. 1.1',
    'aws-kms-key.1.1 ',
    'aws-kms-key.1',
    'aws-kms-key.1.',
    'aws-kms-key.1.1.json.bak',
    'aws-kms-key.4294967296.1',
    'aws-kms-key.1.4294967295',
    'aws-kms-key.1.1\n',
  ])('%j looks like a key file and is none', (file) => {
    expect(parseFileName(file)).toEqual({ kind: 'stray' });
  });

  it.each(['ibdata1', 'aws-kms-key', 'aws-kms-keys.1.1', 'xaws-kms-key.1.1', ''])(
    "%j counts as another program's file",
    (file) => {
      expect(parseFileName(file)).toEqual({ kind: 'foreign' });
    },
  );

  it('never throw and never name a key twice', () => {
    fc.assert(
      fc.property(fc.string(), (suffix) => {
        const file = `aws-kms-key.${suffix}`;
        const parsed = parseFileName(file);
        if (parsed.kind === 'wrapped-key') expect(keyFileName(parsed.name)).toBe(file);
        if (parsed.kind === 'sidecar') expect(sidecarFileName(parsed.name)).toBe(file);
      }),
    );
  });

  it('are recognised for our own other files', () => {
    expect(parseFileName('.aws-kms-tmp-1x')).toEqual({ kind: 'temporary' });
    expect(parseFileName('aws-kms-key.mock.json')).toEqual({ kind: 'mock-state' });
    expect(parseFileName('aws-kms-sealed-key-cache')).toEqual({ kind: 'key-cache' });
    expect(parseFileName('aws-kms-rewrap-lock')).toEqual({ kind: 'rewrap-lock' });
  });
});
