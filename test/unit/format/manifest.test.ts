import fc from 'fast-check';
import { expect, it } from 'vitest';
import { formatManifest, type Manifest, parseManifest } from '../../../src/format/manifest.ts';
import { keyId, keyVersion, MAX_KEY_ID, MAX_KEY_VERSION } from '../../../src/ids.ts';
import { expectKeyError } from '../../support/expect-error.ts';

const HASH = 'ab'.repeat(32);

const VALID: Manifest = {
  created: '2030-01-01T00:00:00.000Z',
  updated: '2030-01-02T00:00:00.000Z',
  tool: 'mariadb-aws-kms 1.0.0',
  keys: [
    {
      name: { id: keyId(3), version: keyVersion(1) },
      sha256: HASH,
      sidecarSha256: HASH,
      masterKeyArn: 'arn:aws:kms:x',
      encryptionAlgorithm: 'AES_CBC',
    },
    {
      name: { id: keyId(3), version: keyVersion(2) },
      sha256: HASH,
      sidecarSha256: undefined,
      masterKeyArn: undefined,
      encryptionAlgorithm: undefined,
    },
    {
      name: { id: keyId(3), version: keyVersion(3) },
      sha256: HASH,
      sidecarSha256: HASH,
      masterKeyArn: 'arn:aws:kms:x',
      encryptionAlgorithm: 'AES_CTR',
    },
  ],
};

it('a manifest round-trips', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: MAX_KEY_ID }),
      fc.integer({ min: 1, max: MAX_KEY_VERSION }),
      (id, version) => {
        const [first] = VALID.keys;
        if (first === undefined) throw new Error('unreachable');
        const manifest = { ...VALID, keys: [{ ...first, name: { id: keyId(id), version: keyVersion(version) } }] };
        expect(parseManifest(formatManifest(manifest))).toEqual(manifest);
      },
    ),
  );
  expect(parseManifest(formatManifest(VALID))).toEqual(VALID);
  const none = { ...VALID, keys: [], unencryptedFiles: 12 };
  expect(parseManifest(formatManifest(none))).toEqual(none);
});

it('a manifest is refused wherever it is cut off, and with any character changed', async () => {
  const text = formatManifest(VALID);
  for (let size = 0; size < text.length - 2; size += 1) {
    await expectKeyError(
      () => parseManifest(text.slice(0, size)),
      'MANIFEST_CORRUPT',
      /^manifest mariadb-aws-kms-keys.json: it is not JSON, or was cut off/,
    );
  }
  for (let at = 0; at < text.length; at += 1) {
    if (/\s/.test(text[at] ?? '')) continue;
    const spoilt = `${text.slice(0, at)}${text[at] === '0' ? '1' : '0'}${text.slice(at + 1)}`;
    await expectKeyError(() => parseManifest(spoilt), 'MANIFEST_CORRUPT', /^manifest mariadb-aws-kms-keys.json: /);
  }
});

it.each([
  ['[]', 'it is no JSON object'],
  ['{}', '"format" expected 1, got undefined'],
  ['{"format":1,"sha256":"no"}', 'its own checksum "sha256" is not that of its content'],
])('%s is refused as a manifest', async (text, reason) => {
  await expectKeyError(() => parseManifest(text), 'MANIFEST_CORRUPT', `manifest mariadb-aws-kms-keys.json: ${reason}`);
});
