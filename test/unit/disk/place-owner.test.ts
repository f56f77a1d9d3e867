import { chmodSync, chownSync, lchownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { ownerOfPlace, placeOfFile } from '../../../src/disk/place-owner.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const SOMEBODY = 65_534;
const OTHER = 65_533;
const ROOT = { uid: 0, isShared: false };
let home: string;

/** Only root can create the files of these tests. */
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
])('the right owner is found for a place %s', async (_, path, expected) => {
  expect(await ownerOfPlace(join(home, path))).toMatchObject(expected);
});

it("a link counts as its owner's, and root's link leads to where the owner counts", async () => {
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

it("a directory of root's that others may write is shared, unless it is sticky", async () => {
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

it("nothing below a directory of root's that others may write counts as root's, unless it is sticky", async () => {
  const roots = join(home, 'roots');
  mkdirSync(join(roots, 'below/deep'), { recursive: true });
  for (const mode of [0o777, 0o770, 0o757]) {
    chmodSync(roots, mode);
    for (const path of ['below', 'below/deep', 'new']) {
      const said = `others may rename ${join(roots, path.split('/')[0] ?? '')}, and put what they like in its place: they may write ${roots}`;
      const error = await expectKeyError(ownerOfPlace(join(roots, path)), 'STORE_UNAVAILABLE', said);
      expect(error.hint).toBe(`chmod go-w ${roots}`);
    }
    await expectKeyError(placeOfFile(join(roots, 'below/file')), 'STORE_UNAVAILABLE', /^others may rename /);
    expect(await ownerOfPlace(roots)).toMatchObject({ uid: 0, isShared: true });
  }
  chmodSync(roots, 0o1777);
  expect(await ownerOfPlace(join(roots, 'below/deep'))).toMatchObject(ROOT);
  chmodSync(roots, 0o755);
  expect(await ownerOfPlace(join(roots, 'below/deep'))).toMatchObject(ROOT);
});

it('a link in the place of a file is followed only where nobody else can have created it', async () => {
  const at = (path: string): string => join(home, path);
  writeFileSync(at('theirs/file'), '');
  writeFileSync(at('roots/file'), '');
  const links = { 'to-roots': '../roots/file', 'to-theirs': '../theirs/file', 'of-nobody': '../roots/file' };
  mkdirSync(at('place'));
  for (const [name, target] of Object.entries(links)) symlinkSync(target, at(`place/${name}`));
  lchownSync(at('place/of-nobody'), SOMEBODY, SOMEBODY);
  for (const [mode, followed] of [
    [0o755, ['to-roots', 'to-theirs', 'of-nobody']],
    [0o1777, ['to-roots', 'to-theirs']],
    [0o777, []],
  ] as const) {
    chmodSync(at('place'), mode);
    const found = await Promise.all(Object.keys(links).map((name) => placeOfFile(at(`place/${name}`))));
    const names = Object.keys(links).filter((_, index) => found[index]?.isLink === false);
    expect(names, mode.toString(8)).toEqual(followed);
  }
  chmodSync(at('place'), 0o1777);
  expect(await placeOfFile(at('place/to-roots'))).toMatchObject({ owner: ROOT, path: at('roots/file') });
  expect(await placeOfFile(at('place/to-theirs'))).toMatchObject({ owner: { uid: SOMEBODY } });
  expect(await placeOfFile(at('place/none/file'))).toMatchObject({ absent: { code: 'ENOENT' } });
});
