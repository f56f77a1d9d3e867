import { chmodSync, chownSync, lchownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { ownerOfPlace } from '../../src/keystore/place-owner.ts';
import { scratchDirectory } from '../support/scratch.ts';

const SOMEBODY = 65_534;
const OTHER = 65_533;
const ROOT = { uid: 0, isShared: false };
let home: string;

/** Only root can make what these tests look at. */
beforeEach(() => {
  home = scratchDirectory();
  chmodSync(home, 0o755);
  for (const name of ['roots', 'theirs', 'theirs/roots']) mkdirSync(join(home, name));
  chownSync(join(home, 'theirs'), SOMEBODY, SOMEBODY);
});

it.each([
  ['that root owns all the way', 'roots', ROOT],
  ['that is not there yet', 'roots/new', ROOT],
  ['that is not there yet, in theirs', 'theirs/new', { uid: SOMEBODY }],
  ['that is theirs', 'theirs', { uid: SOMEBODY }],
  ['of root in theirs, who may put another there', 'theirs/roots', { uid: SOMEBODY }],
  ['above theirs', 'theirs/..', ROOT],
])('a place %s', async (_, path, expected) => {
  expect(await ownerOfPlace(join(home, path))).toMatchObject(expected);
});

it("a link is its owner's, and root's leads to where the owner counts", async () => {
  symlinkSync('roots', join(home, 'to-roots'));
  symlinkSync('../theirs', join(home, 'roots/to-theirs'));
  symlinkSync(join(home, 'roots'), join(home, 'by-other'));
  lchownSync(join(home, 'by-other'), OTHER, OTHER);
  symlinkSync('circle', join(home, 'circle'));
  expect(await ownerOfPlace(join(home, 'to-roots'))).toMatchObject(ROOT);
  expect(await ownerOfPlace(join(home, 'roots/to-theirs'))).toMatchObject({ uid: SOMEBODY });
  expect(await ownerOfPlace(join(home, 'roots/to-theirs/roots'))).toMatchObject({ uid: SOMEBODY });
  expect(await ownerOfPlace(join(home, 'by-other/new'))).toMatchObject({ uid: OTHER });
  await expect(ownerOfPlace(join(home, 'circle/new'))).rejects.toMatchObject({ code: 'ELOOP' });
});

it("a directory of root's that others may write is shared, unless each of them keeps to what is his", async () => {
  for (const [mode, isShared] of [
    [0o770, true],
    [0o757, true],
    [0o1777, false],
    [0o755, false],
  ] as const) {
    chmodSync(join(home, 'roots'), mode);
    expect(await ownerOfPlace(join(home, 'roots')), mode.toString(8)).toEqual({ uid: 0, gid: 0, isShared });
  }
  writeFileSync(join(home, 'roots/file'), '');
  expect(await ownerOfPlace(join(home, 'roots/file/below'))).toMatchObject({ uid: 0 });
});
