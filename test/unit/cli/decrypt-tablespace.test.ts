import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Command } from 'commander';
import { beforeEach, describe, expect, it } from 'vitest';
import { decryptPageCommand } from '../../../src/cli/decrypt/page.ts';
import { decryptTablespaceCommand } from '../../../src/cli/decrypt/tablespace.ts';
import type { CliIo } from '../../../src/cli/process-io.ts';
import { systemSurroundings } from '../../../src/cli/system-surroundings.ts';
import { clearPage, encryptedPage, firstPage, KEY_ID, type SpaceKind } from '../../support/encrypted-space.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { recordedIo } from '../../support/recorded-io.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const KEY = Buffer.alloc(16, 1);

let root: string;
let keys: string;
beforeEach(() => {
  root = scratchDirectory();
  keys = join(root, 'keys.txt');
  writeFileSync(keys, `1;${KEY.toString('hex')}\n${KEY_ID};${KEY.toString('hex')}\n`);
});

function table(name: string, kind: SpaceKind = 'full_crc32', pages = 3): string {
  const path = join(root, name);
  const key = { bytes: KEY, algorithm: 'AES_CBC' } as const;
  writeFileSync(path, Buffer.concat([firstPage(kind, [], pages), encryptedPage(kind, 1, 1, key), clearPage(kind, 2)]));
  return path;
}

interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(
  command: (io: CliIo, surroundings: typeof systemSurroundings) => Command,
  args: readonly string[],
  more: Partial<CliIo> = {},
): Promise<Outcome> {
  const { io, printed } = recordedIo(more);
  await command(io, systemSurroundings).exitOverride().parseAsync(args, { from: 'user' });
  return printed;
}

function decrypt(...args: string[]): Promise<Outcome> {
  return run(decryptTablespaceCommand, ['--key-file', keys, ...args]);
}

describe('decrypt tablespace', () => {
  it('prints pages, proof and copy of a table', async () => {
    const copy = join(root, 'copy.ibd');
    expect(await decrypt('--to', copy, table('t.ibd'))).toEqual({
      status: 0,
      stdout: `${join(root, 't.ibd')}: 1 page decrypted (key 5 version 1: 1, AES_CBC), 2 in clear, 0 empty\n  proved: 1 by tablespace and LSN in them\n  copy: ${copy}\n`,
      stderr: '',
    });
  });

  it('prints the results in the order of the files, the first before the last copy is begun', async () => {
    const names = ['a.ibd', 'b.ibd', 'c.ibd', 'd.ibd', 'e.ibd'];
    const to = join(root, 'copies');
    mkdirSync(to);
    const printed: string[] = [];
    const seen: string[][] = [];
    const stdout = (line: string): void => {
      if (!line.includes('page decrypted')) return;
      printed.push(basename(line.split(':')[0] ?? ''));
      seen.push(readdirSync(to));
    };
    const files = names.map((name) => table(name));
    await run(decryptTablespaceCommand, ['--key-file', keys, '--to', to, ...files], { stdout });
    expect(printed).toEqual(names);
    expect(seen[0]).toContain('a.ibd');
    expect(seen[0]?.some((name) => name.includes('e.ibd'))).toBe(false);
    expect(seen.at(-1)).toEqual(names);
  });

  it('ends with 1 for a table that was cut', async () => {
    const { status, stderr } = await decrypt('--to', join(root, 'copy.ibd'), table('t.ibd', 'full_crc32', 9));
    expect(status).toBe(1);
    expect(stderr).toContain('it ends before page 3 of 9: it was cut; the copy has its whole pages');
  });

  it('ends with 3 when nothing shows that the key is right', async () => {
    const path = table('t.ibd', 'lz4');
    const refused = await decrypt('--to', join(root, 'refused.ibd'), path);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('add --algorithm with file_key_management_encryption_algorithm');
    const named = await decrypt('--algorithm', 'aes_cbc', '--to', join(root, 'copy.ibd'), path);
    expect(named.status).toBe(3);
    expect(named.stderr).toContain('UNPROVEN: nothing shows that 1 pages were decrypted with the right key');
  });

  it('refuses a directory that is not there, and two files of one name', async () => {
    const path = table('t.ibd');
    await expectKeyError(
      decrypt('--to', `${join(root, 'none')}/`, path),
      'BAD_OPTION',
      `--to ${join(root, 'none')}/: there is no such directory`,
    );
    await expectKeyError(
      decrypt('--to', join(root, 'none', 't.ibd'), path),
      'BAD_OPTION',
      `--to ${join(root, 'none', 't.ibd')}: there is no directory ${join(root, 'none')}`,
    );
    mkdirSync(join(root, 'other'));
    mkdirSync(join(root, 'copies'));
    const same = table('other/t.ibd');
    await expectKeyError(
      decrypt('--to', join(root, 'copies'), path, same),
      'BAD_OPTION',
      `--to ${join(root, 'copies')}: ${path} and ${same} would have the same copy, ${join(root, 'copies', 't.ibd')}`,
    );
    expect(readdirSync(join(root, 'copies'))).toEqual([]);
  });

  it.each(['--keyfile-dir', '--region', '--endpoint-url', '--encryption-context'])(
    'refuses %s beside a key file',
    async (option) => {
      await expectKeyError(
        decrypt(option, 'x', '--to', join(root, 'copy.ibd'), table('t.ibd')),
        'BAD_OPTION',
        `${option} and --key-file exclude each other: keys come from one place`,
      );
    },
  );
});

it('decrypt page prints one JSON document, with the page in it', async () => {
  const args = ['--key-file', keys, '--json', '--hex', '--page', '1', table('t.ibd')];
  const { status, stdout } = await run(decryptPageCommand, args);
  const printed: { ok: boolean; hex: string } = JSON.parse(stdout);
  expect({ status, ok: printed.ok }).toEqual({ status: 0, ok: true });
  expect(printed.hex).toBe(clearPage('full_crc32', 1).toString('hex'));
});
