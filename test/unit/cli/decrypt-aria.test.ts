/** `decrypt aria` with tables of real servers: test/vectors/aria. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { beforeEach, expect, it } from 'vitest';
import { decryptAriaCommand } from '../../../src/cli/decrypt/aria.ts';
import { systemSurroundings } from '../../../src/cli/system-surroundings.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { recordedIo } from '../../support/recorded-io.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const VECTORS = join(import.meta.dirname, '../../vectors/aria');

let root: string;
beforeEach(() => {
  root = scratchDirectory();
  mkdirSync(join(root, 'copies'));
  writeFileSync(join(root, 'keys.txt'), `1;${'01'.repeat(16)}\n`);
  for (const file of ['MAI', 'MAD'])
    for (const table of ['a', 'b'])
      writeFileSync(join(root, `${table}.${file}`), gunzipSync(readFileSync(join(VECTORS, `cbc.${file}.gz`))));
});

async function decrypt(...args: readonly string[]) {
  const { io, printed } = recordedIo();
  const files = args.map((arg) => (arg.startsWith('-') ? arg : join(root, arg)));
  const options = ['--key-file', join(root, 'keys.txt'), '--to', join(root, 'copies'), ...files];
  await decryptAriaCommand(io, systemSurroundings).exitOverride().parseAsync(options, { from: 'user' });
  const text = (found: string): string => found.replaceAll(`${root}/`, '');
  return { status: printed.status, stdout: text(printed.stdout), stderr: text(printed.stderr) };
}

const copies = (): readonly string[] => readdirSync(join(root, 'copies')).sort();

it('a table whose three files are named is decrypted once', async () => {
  writeFileSync(join(root, 'a.frm'), 'the definition');
  expect(await decrypt('a.MAD', 'a.MAI', 'a.frm')).toEqual({
    status: 0,
    stdout: 'a.MAI: 4 pages, encrypted with key version 1 (AES_CBC): copies/a.MAI\n',
    stderr: '',
  });
  expect(copies()).toEqual(['a.MAD', 'a.MAI', 'a.frm']);
  await expectKeyError(decrypt('a.txt'), 'BAD_OPTION', /a\.txt: expected the \.MAI file of a table$/);
});

it('the tables behind a bad one are decrypted', async () => {
  truncateSync(join(root, 'a.MAD'), 20_000);
  expect(await decrypt('a.MAI', 'b.MAI')).toEqual({
    status: 1,
    stdout: 'b.MAI: 4 pages, encrypted with key version 1 (AES_CBC): copies/b.MAI\n',
    stderr:
      'mariadb-aws-kms: error: a.MAI: the .MAD file was cut: it has 20000 of 32768 bytes\nhint: copy the table again\n',
  });
  expect(copies()).toEqual(['b.MAD', 'b.MAI']);
});

it('a .frm file that is a pipe is named, and the table has no copy', async () => {
  execFileSync('mkfifo', [join(root, 'a.frm')]);
  expect(await decrypt('a.MAI')).toEqual({
    status: 1,
    stdout: '',
    stderr: 'mariadb-aws-kms: error: a.frm: it is not a regular file\n',
  });
  expect(copies()).toEqual([]);
});

it('--json tells the pages, the copies and the problems', async () => {
  const { status, stdout } = await decrypt('--json', 'a.MAI', 'missing.MAI');
  expect(status).toBe(1);
  expect(JSON.parse(stdout)).toEqual({
    ok: false,
    files: [
      {
        file: 'a.MAI',
        output: 'copies/a.MAI',
        pages: 4,
        keyVersions: [1],
        algorithm: 'AES_CBC',
        wasOpen: false,
        notes: [],
      },
    ],
    problems: [{ code: 'DATA_UNREADABLE', message: 'missing.MAI: ENOENT', hint: '' }],
  });
});
