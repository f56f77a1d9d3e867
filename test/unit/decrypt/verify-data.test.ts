import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { nodeDataFiles } from '../../../src/data/data-files.ts';
import { callingThread } from '../../../src/decrypt/tablespace/threads.ts';
import { type VerifiedData, verifyData } from '../../../src/decrypt/verify-data.ts';
import { sealPage } from '../../../src/format/innodb/page-checksum.ts';
import { encryptedPage, firstPage, KEY_ID, layoutOf } from '../../support/encrypted-space.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const VECTORS = join(import.meta.dirname, '../../vectors');

async function verify(files: readonly string[], versions: readonly number[]): Promise<VerifiedData> {
  return await verifyData([{ files }], {
    keys: {
      place: 'the test',
      candidates: async (_, version) =>
        versions.includes(version) ? [{ bytes: Buffer.alloc(16, version), algorithm: 'AES_CBC' }] : [],
      wipe: () => undefined,
    },
    threads: callingThread(),
    random: () => 0.5,
    signal: new AbortController().signal,
    disk: nodeDataFiles,
    progress: () => undefined,
  });
}

function table(directory: string): string {
  const path = join(directory, 't.ibd');
  const page = (number: number, version: number): Buffer =>
    encryptedPage('full_crc32', number, version, { bytes: Buffer.alloc(16, version), algorithm: 'AES_CBC' });
  writeFileSync(path, Buffer.concat([firstPage('full_crc32'), page(1, 1), page(2, 1), page(3, 2)]));
  return path;
}

it('each key version is told with the pages that decrypt and their proof', async () => {
  const path = table(scratchDirectory());
  const { files, keyProblems, unseen } = await verify([path], [1, 2]);
  expect({ keyProblems, unseen }).toEqual({ keyProblems: [], unseen: [] });
  expect(files).toMatchObject([
    {
      kind: 'tablespace',
      versions: [
        { keyId: KEY_ID, version: 1, decrypted: 2 },
        { keyId: KEY_ID, version: 2, decrypted: 1 },
      ],
      proofs: { fields: 3 },
      failed: 0,
    },
  ]);
});

it('a version that is not there is a failure of the files that need it', async () => {
  const path = table(scratchDirectory());
  const { files, keyProblems } = await verify([path], [1]);
  expect(files[0]?.missing).toEqual([{ keyId: KEY_ID, version: 2, pages: 1 }]);
  expect(files[0]?.failed).toBe(1);
  expect(keyProblems.map(({ message }) => message)).toEqual([`key ${KEY_ID} version 2 is not in the test`]);
});

it('a version that is not there is named with the logs and the Aria tables that need it', async () => {
  const directory = scratchDirectory();
  const unpacked = (name: string): string => {
    const path = join(directory, name);
    writeFileSync(path, gunzipSync(readFileSync(join(VECTORS, `aria/${name}.gz`))));
    return path;
  };
  const table = unpacked('cbc.MAI');
  unpacked('cbc.MAD');
  const log = join(VECTORS, 'logs/checksums-cbc');
  const { files, keyProblems } = await verify([log, table], []);
  const missing = [{ keyId: 1, version: 1, pages: 0 }];
  expect(files).toMatchObject(
    [table, relative(process.cwd(), log)].map((file) => ({ file, missing, failures: [], failed: 1 })),
  );
  expect(keyProblems.map(({ message }) => message)).toEqual(['key 1 version 1 is not in the test']);
});

it('a file that cannot be read is unseen, and one of another kind as well', async () => {
  const directory = scratchDirectory();
  const path = table(directory);
  const gone = join(directory, 'gone.ibd');
  copyFileSync(path, gone);
  rmSync(gone);
  const { unseen, files } = await verify([gone], [1]);
  expect(files).toEqual([]);
  expect(unseen.map(({ reason }) => reason)).toEqual(['ENOENT']);
});

it('a file that was cut is a failure, and one whose pages nothing proves is told', async () => {
  const directory = scratchDirectory();
  const [cut, doubtful] = [join(directory, 'cut.ibd'), join(directory, 'doubtful.ibd')];
  const key = { bytes: Buffer.alloc(16, 1), algorithm: 'AES_CBC' } as const;
  writeFileSync(cut, Buffer.concat([firstPage('full_crc32', [], 9), encryptedPage('full_crc32', 1, 1, key)]));
  writeFileSync(doubtful, Buffer.concat([firstPage('lz4'), encryptedPage('lz4', 1, 1, key)]));
  const { files } = await verify([cut, doubtful], [1]);
  expect(files).toMatchObject([
    { failed: 1, failures: ['it ends before page 2 of 9: it was cut'], unproven: 0 },
    { failed: 0, failures: [], unproven: 1 },
  ]);
});

it('a system tablespace whose further file is not there is a failure of its last one', async () => {
  const path = join(scratchDirectory(), 'ibdata1');
  const first = firstPage('full_crc32', [], 3);
  first.writeUInt32BE(0, 34);
  first.writeUInt32BE(0, 38);
  sealPage(layoutOf('full_crc32'), first);
  writeFileSync(path, Buffer.concat([first, Buffer.alloc(16_384)]));
  const cut = await verify([path], [1]);
  expect(cut.files).toMatchObject([
    {
      kind: 'system tablespace',
      failed: 1,
      failures: ['it ends before page 2 of 3: it was cut, or the system tablespace has a further file'],
    },
  ]);
  writeFileSync(path, Buffer.concat([first, Buffer.alloc(32_768)]));
  expect((await verify([path], [1])).files).toMatchObject([{ failed: 0 }]);
});
