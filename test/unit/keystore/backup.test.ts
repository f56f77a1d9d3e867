import { createHash } from 'node:crypto';
import {
  appendFileSync,
  constants,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import { type FileSystem, nodeFileSystem } from '../../../src/disk/file-system.ts';
import type { EncryptionAlgorithm } from '../../../src/format/encryption-algorithm.ts';
import { keyContext } from '../../../src/format/encryption-context.ts';
import { keyFileName, sidecarFileName } from '../../../src/format/key-file-name.ts';
import { describeVersions, MANIFEST_FILE } from '../../../src/format/manifest.ts';
import { formatSidecar } from '../../../src/format/sidecar.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { backUpKeys } from '../../../src/keystore/backup.ts';
import { KeyDirectory } from '../../../src/keystore/directory.ts';
import { backupNamedBy, keysNamedBy } from '../../../src/keystore/failures.ts';
import { checkBackup } from '../../../src/keystore/verify-backup.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { systemError } from '../../support/memory-fs.ts';
import { scratchDirectory } from '../../support/scratch.ts';

let from: string;
let to: string;

beforeEach(() => {
  const directory = scratchDirectory();
  from = join(directory, 'keys');
  to = join(directory, 'backup');
  for (const path of [from, to]) mkdirSync(path);
  for (const [id, version] of [
    [1, 1],
    [1, 2],
    [7, 1],
  ] as const)
    makeKey(id, version);
});

function makeKey(id: number, version: number, hasSidecar = true, algorithm: EncryptionAlgorithm = 'AES_CBC'): void {
  const name = { id: keyId(id), version: keyVersion(version) };
  const wrapped = Buffer.from(`wrapped ${id}.${version}`);
  writeFileSync(join(from, keyFileName(name)), wrapped);
  if (!hasSidecar) return;
  const sidecar = {
    masterKeyArn: 'arn:aws:kms:us-east-1:1:key/a',
    keySpec: 'AES_128',
    created: '2030-01-01T00:00:00.000Z',
    wrappedSha256: createHash('sha256').update(wrapped).digest('hex'),
    requestId: '',
    encryptionContext: keyContext({}, name, algorithm),
    keyCheckValue: undefined,
  } as const;
  writeFileSync(join(from, sidecarFileName(name)), formatSidecar(name, sidecar));
}

function disk(fileSystem: FileSystem = nodeFileSystem) {
  return { fileSystem, clock: systemClock, random: Math.random };
}

async function backUp(fileSystem?: FileSystem, needsNone?: () => Promise<number | undefined>) {
  const files = disk(fileSystem);
  const keys = new KeyDirectory(from, files.fileSystem, files.clock, files.random, keysNamedBy('--keyfile-dir'));
  const toNamed = backupNamedBy('--to');
  return await backUpKeys({ from: keys, to, toNamed, tool: 'mariadb-aws-kms 1.0.0', needsNone }, files);
}

async function messages(): Promise<readonly string[]> {
  const { damage, unlisted, gaps } = await checkBackup(to, disk());
  return [...damage, ...unlisted, ...gaps].map(({ code, message }) => `${code} ${message}`);
}

it('a backup copies keys and sidecars, mode 0600, and nothing else', async () => {
  makeKey(9, 1, false);
  for (const file of ['.aws-kms-tmp-x', '.aws-kms-tmp-x.json', 'ibdata1', 'aws-kms-key.01.1']) {
    writeFileSync(join(from, file), 'x');
  }
  expect(await backUp()).toMatchObject({ added: 7, problems: [] });
  const copied = readdirSync(from).filter((file) => /^aws-kms-key\.\d\.\d(\.json)?$/.test(file));
  expect(readdirSync(to).sort()).toEqual([...copied, MANIFEST_FILE].sort());
  for (const file of copied) {
    expect(readFileSync(join(to, file))).toEqual(readFileSync(join(from, file)));
    expect(statSync(join(to, file)).mode & 0o777).toBe(0o600);
  }
  expect(await messages()).toEqual([]);
});

it("a backup's manifest names the algorithm of each version that has one", async () => {
  makeKey(7, 2, true, 'AES_CTR');
  makeKey(7, 3, false);
  await backUp();
  const { manifest } = await checkBackup(to, disk());
  expect(manifest.keys.map(({ encryptionAlgorithm }) => encryptionAlgorithm)).toEqual([
    'AES_CBC',
    'AES_CBC',
    'AES_CBC',
    'AES_CTR',
    undefined,
  ]);
  expect(readFileSync(join(to, MANIFEST_FILE), 'utf8').match(/encryptionAlgorithm/g)).toHaveLength(1);
  expect(describeVersions(manifest, 'versions')).toBe('5 versions (1 of AES_CTR)');
});

it('a second backup adds new files, and keeps a current manifest and its first time', async () => {
  const first = (await backUp()).manifest;
  const bytes = readFileSync(join(to, MANIFEST_FILE));
  expect(await backUp()).toMatchObject({ added: 0 });
  expect(readFileSync(join(to, MANIFEST_FILE))).toEqual(bytes);
  makeKey(7, 2);
  const second = await backUp();
  expect(second).toMatchObject({ added: 2, manifest: { created: first.created } });
  expect(second.manifest.keys.map(({ name }) => `${name.id}.${name.version}`)).toEqual(['1.1', '1.2', '7.1', '7.2']);
});

it('a backup includes keys that the server creates meanwhile', async () => {
  let isMade = false;
  const link: FileSystem['link'] = async (existing, path) => {
    if (!isMade) makeKey(8, 1);
    isMade = true;
    await nodeFileSystem.link(existing, path);
  };
  expect(await backUp({ ...nodeFileSystem, link })).toMatchObject({ added: 8 });
  expect(await messages()).toEqual([]);
});

it('a backup accepts existing files of the same server', async () => {
  cpSync(from, to, { recursive: true });
  expect(await backUp()).toMatchObject({ added: 0, problems: [] });
  expect(await messages()).toEqual([]);
});

it('a backup changes nothing where another server has its keys', async () => {
  writeFileSync(join(to, 'aws-kms-key.7.1'), 'another');
  await expectKeyError(backUp(), 'KEY_EXISTS', `key 7 version 1: ${to} has another aws-kms-key.7.1`);
  expect(readdirSync(to)).toEqual(['aws-kms-key.7.1']);
  rmSync(join(to, 'aws-kms-key.7.1'));
  writeFileSync(join(to, 'aws-kms-key.99.1'), 'another');
  await expectKeyError(
    backUp(),
    'KEY_EXISTS',
    `${to} has key files of key 99 version 1, which the key directory has not`,
  );
  expect(readdirSync(to)).toEqual(['aws-kms-key.99.1']);
});

it('a backup keeps files that the server has lost, and names them', async () => {
  await backUp();
  rmSync(join(from, 'aws-kms-key.1.1'));
  const { problems, manifest } = await backUp();
  expect(problems.map(({ message }) => message)).toEqual([
    'key 1 version 1: its sidecar is there, its key file aws-kms-key.1.1 is gone',
  ]);
  expect(manifest.keys).toHaveLength(3);
  expect(await messages()).toEqual([]);
});

it('a backup copies every other key when one is damaged', async () => {
  appendFileSync(join(from, 'aws-kms-key.1.1'), 'x');
  const { problems, manifest } = await backUp();
  expect(problems).toMatchObject([{ code: 'KEY_FILE_CORRUPT' }]);
  expect(manifest.keys).toHaveLength(2);
  expect(await messages()).toEqual(['KEY_FILE_MISSING key 1 version 1 is missing: it was not there to be backed up']);
});

const full = async (): Promise<never> => {
  throw systemError('ENOSPC');
};

it.each<[string, Partial<FileSystem>]>([
  ['link', { link: full }],
  ['rename', { rename: full }],
  [
    'creation',
    {
      open: async (path, flags, mode) =>
        (flags & constants.O_CREAT) === 0 ? await nodeFileSystem.open(path, flags, mode) : await full(),
    },
  ],
])('files left by a failed %s are completed by the next backup', async (_, failing) => {
  await expectKeyError(backUp({ ...nodeFileSystem, ...failing }), 'STORE_UNAVAILABLE', /^cannot store .*: ENOSPC$/);
  expect(readdirSync(to).filter((file) => file.startsWith('.'))).toEqual([]);
  expect(readdirSync(to)).not.toContain(MANIFEST_FILE);
  expect(await backUp()).toMatchObject({ problems: [] });
  expect(await messages()).toEqual([]);
});

it('a check of a backup finds each kind of damage', async () => {
  await backUp();
  appendFileSync(join(to, 'aws-kms-key.1.1'), 'x');
  rmSync(join(to, 'aws-kms-key.1.2.json'));
  writeFileSync(join(to, 'aws-kms-key.9.1'), 'extra');
  expect(await messages()).toEqual([
    expect.stringMatching(
      /^KEY_FILE_CORRUPT key 1 version 1: aws-kms-key.1.1: its SHA-256 is \w{64}, the manifest says \w{64}$/,
    ),
    'KEY_FILE_MISSING key 1 version 2: aws-kms-key.1.2.json is gone',
    'KEY_UNKNOWN key 9 version 1: aws-kms-key.9.1 is not in the manifest',
  ]);
  rmSync(join(to, 'aws-kms-key.1.1'));
  mkdirSync(join(to, 'aws-kms-key.1.1'));
  expect((await messages())[0]).toBe('KEY_FILE_CORRUPT key 1 version 1: aws-kms-key.1.1: it is not a regular file');
  rmSync(join(to, MANIFEST_FILE));
  await expectKeyError(messages(), 'MANIFEST_CORRUPT', `there is no manifest ${MANIFEST_FILE} in ${to}`);
});

it('a backup without keys fails, unless the data provably needs none', async () => {
  rmSync(from, { recursive: true });
  mkdirSync(from);
  writeFileSync(join(from, 'ibdata1'), '');
  const error = await expectKeyError(backUp(), 'KEY_FILE_MISSING', `there is no key file in ${from}`);
  expect(error.hint).toMatch(/^is its file system mounted, and does --keyfile-dir name the directory/);
  await expectKeyError(
    backUp(undefined, async () => undefined),
    'KEY_FILE_MISSING',
    `there is no key file in ${from}`,
  );
  expect(readdirSync(to)).toEqual([]);
  const { manifest, problems } = await backUp(undefined, async () => 3);
  expect([manifest.keys, problems]).toEqual([[], []]);
  expect((await checkBackup(to, disk())).manifest).toMatchObject({ keys: [], unencryptedFiles: 3 });
  // A proof of an earlier run does not count in a later one.
  await expectKeyError(backUp(), 'KEY_FILE_MISSING', `there is no key file in ${from}`);
  makeKey(1, 1);
  const { manifest: later } = await backUp();
  expect([later.keys.length, later.unencryptedFiles]).toEqual([1, undefined]);
});

it('a backup writes no manifest when every key failed', async () => {
  rmSync(from, { recursive: true });
  mkdirSync(join(from, 'aws-kms-key.1.1'), { recursive: true });
  const { problems } = await backUp();
  expect(problems).toHaveLength(1);
  expect(readdirSync(to)).toEqual([]);
});

it("a backup's error names the option of a directory that cannot be read", async () => {
  rmSync(from, { recursive: true });
  const error = await expectKeyError(
    backUp(),
    'STORE_UNAVAILABLE',
    `cannot list the key directory ${from}: ENOENT: no such file or directory, scandir '${from}'`,
  );
  expect(error.hint).toBe('there is no such directory: correct --keyfile-dir');
});
