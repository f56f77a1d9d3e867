import { expect, it } from 'vitest';
import type { KeyName } from '../../../src/format/key-file-name.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { KnownVersions } from '../../../src/keyring/known-versions.ts';
import { gaps, latestVersions } from '../../../src/keyring/versions.ts';
import { KeyDirectory } from '../../../src/keystore/directory.ts';
import { KEYS_FOR_CALLER } from '../../../src/keystore/failures.ts';
import { restoreFiles, retireFiles } from '../../../src/keystore/retired.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs, systemError } from '../../support/memory-fs.ts';

const ONE: KeyName = { id: keyId(1), version: keyVersion(1) };
const TWO: KeyName = { id: keyId(1), version: keyVersion(2) };
const FILES = ['aws-kms-key.1.1', 'aws-kms-key.1.1.json'];

function stored(): MemoryFs {
  const fs = new MemoryFs();
  for (const file of [...FILES, 'aws-kms-key.1.2', 'aws-kms-key.1.2.json']) {
    const made = { bytes: Buffer.from(file), synced: true };
    fs.files.set(`/keys/${file}`, made);
    fs.durable.set(`/keys/${file}`, made);
  }
  return fs;
}

const storeOf = (fs: MemoryFs): KeyDirectory => new KeyDirectory('/keys', fs, new FakeClock(), Math.random);
const listed = (fs: MemoryFs, directory: string) => fs.readdir(directory).then((files) => files.sort());
const move = { retire: retireFiles, undo: restoreFiles };

it('a retired version is neither stored nor lost nor a gap, and keeps its number', async () => {
  const fs = stored();
  await retireFiles(ONE, '/keys', fs, KEYS_FOR_CALLER);
  const listing = await storeOf(fs).list();
  expect(listing).toMatchObject({ stored: [TWO], lost: [], retired: [ONE] });
  expect(gaps(listing)).toEqual([]);
  expect(latestVersions({ ...listing, stored: [] }).get(keyId(1))).toBe(1);
  const known = new KnownVersions(storeOf(fs), 0);
  known.add(ONE);
  known.add(TWO);
  expect((await known.list()).shrunk).toBeUndefined();
  expect((await new KnownVersions(storeOf(fs), 2).list()).shrunk).toBeUndefined();
  fs.files.delete('/keys/.aws-kms-retired/aws-kms-key.1.1');
  expect((await known.list()).shrunk?.code).toBe('STORE_UNAVAILABLE');
});

it.each(['retire', 'undo'] as const)(
  'a power loss at any call of a %s loses no file, and another run goes on',
  async (how) => {
    for (let cut = 1; ; cut += 1) {
      const fs = stored();
      if (how === 'undo') await retireFiles(ONE, '/keys', fs, KEYS_FOR_CALLER);
      let calls = 0;
      fs.before = () => {
        calls += 1;
        if (calls >= cut) throw systemError('EIO');
      };
      const ended = await move[how](ONE, '/keys', fs, KEYS_FOR_CALLER).then(
        () => true,
        () => false,
      );
      fs.before = () => undefined;
      const left = fs.afterPowerLoss();
      // A start between the runs finds the version stored or retired.
      const { lost, stored: there, retired } = await storeOf(left).list();
      expect(lost, `call ${cut}`).toEqual([]);
      expect([...there, ...retired].length, `call ${cut}`).toBe(2);
      await move[how](ONE, '/keys', left, KEYS_FOR_CALLER);
      const [full, empty] =
        how === 'retire' ? ['/keys/.aws-kms-retired', '/keys'] : ['/keys', '/keys/.aws-kms-retired'];
      expect(await listed(left, full)).toEqual(expect.arrayContaining(FILES));
      expect(await listed(left, empty)).not.toEqual(expect.arrayContaining(['aws-kms-key.1.1']));
      if (ended) return expect(cut).toBeGreaterThan(8);
    }
  },
);

it('no file of another version is replaced', async () => {
  const fs = stored();
  fs.files.set('/keys/.aws-kms-retired/aws-kms-key.1.1', { bytes: Buffer.from('other'), synced: true });
  await expectKeyError(retireFiles(ONE, '/keys', fs, KEYS_FOR_CALLER), 'KEY_EXISTS', /are different files$/);
  expect(fs.files.get('/keys/.aws-kms-retired/aws-kms-key.1.1')?.bytes.toString()).toBe('other');
  expect(fs.files.get('/keys/aws-kms-key.1.1')?.bytes.toString()).toBe('aws-kms-key.1.1');
});
