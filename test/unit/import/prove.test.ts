import { describe, expect, it } from 'vitest';
import type { VerifiedFile, VersionUse } from '../../../src/decrypt/verify-data.ts';
import { proofIn } from '../../../src/import/prove.ts';
import { expectKeyError } from '../../support/expect-error.ts';

function file(name: string, changes: Partial<VerifiedFile> = {}): VerifiedFile {
  const nothing = { versions: [], proofs: {}, missing: [], failures: [], failed: 0, failedFree: 0, unproven: 0 };
  return { file: name, kind: 'tablespace', bytes: 1, ...nothing, ...changes };
}

function use(keyId: number, changes: Partial<VersionUse> = {}): VersionUse {
  return { keyId, version: 1, decrypted: 10, algorithm: 'AES_CBC', ...changes };
}

function proof(files: readonly VerifiedFile[], has: (keyId: number, version: number) => boolean = () => true) {
  return proofIn({ files, keyProblems: [], unseen: [] }, 'the key file keys.txt', has);
}

describe('the proof', () => {
  it('counts what each version opens, and tells the algorithm', () => {
    const files = [file('a', { versions: [use(1)] }), file('b', { versions: [use(1, { decrypted: 5 })] }), file('c')];
    expect(proof(files)).toEqual({
      uses: [{ keyId: 1, version: 1, decrypted: 15, files: 2 }],
      algorithm: 'AES_CBC',
      incomplete: [],
    });
  });

  it('names versions that the source has not, and the files that need them', async () => {
    const missing = (keyId: number, version: number) => ({ missing: [{ keyId, version, pages: 3 }], failed: 3 });
    const files = [file('d/a.ibd', missing(1, 2)), file('d/b.ibd', missing(1, 2)), file('d/c.ibd', missing(9, 1))];
    await expectKeyError(
      () => proof(files, (keyId, version) => version === 1 && keyId !== 9),
      'KEY_UNKNOWN',
      'key 1 version 2 is not in the key file keys.txt, and d/a.ibd, d/b.ibd needs it; nor key 9 version 1',
    );
  });

  it('names files that a key of the source does not open', async () => {
    const wrong = { missing: [{ keyId: 3, version: 1, pages: 3 }], failed: 3, failures: ['page 4: no'] };
    await expectKeyError(
      () => proof([file('d/a.ibd', wrong), file('d/b.ibd', wrong)]),
      'DATA_UNREADABLE',
      'd/a.ibd does not open with the key file keys.txt: page 4: no; likewise d/b.ibd',
    );
  });

  it('refuses data under both algorithms by name', async () => {
    const files = [file('a', { versions: [use(1)] }), file('b', { versions: [use(3, { algorithm: 'AES_CTR' })] })];
    await expectKeyError(
      () => proof(files),
      'DATA_UNREADABLE',
      'a is encrypted with AES_CBC, and b with AES_CTR: no server reads both',
    );
  });

  it('takes pages that show nothing for those of a key that other pages show', () => {
    const unproven = file('b', { versions: [use(3)], unproven: 10 });
    expect(proof([unproven]).incomplete).toEqual([
      'b: nothing shows that its 10 encrypted pages open with this key: their compression is not read here',
    ]);
    const ofLog = file('ib_logfile0', { versions: [use(3, { decrypted: 0 })], proofs: { key: 1 } });
    expect(proof([unproven, ofLog]).incomplete).toHaveLength(1);
    expect(proof([unproven, file('a', { versions: [use(3)] })]).incomplete).toEqual([]);
  });

  it('is incomplete without any file', () => {
    expect(proof([]).incomplete).toEqual(['no data file was found']);
  });
});
