import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readSmallFile } from '../../../src/disk/small-file.ts';
import { configuredEndpoint } from '../../../src/kms/aws/configured-endpoint.ts';
import { secretsOfSharedFiles, unreadableSharedFile } from '../../../src/kms/aws/credentials/shared-files.ts';
import { chosenRegion } from '../../../src/kms/aws/region.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { scratchDirectory } from '../../support/scratch.ts';

function pipe(): string {
  const path = join(scratchDirectory(), 'pipe');
  execFileSync('mkfifo', [path]);
  return path;
}

it('small files are read, and endless files and pipes without a writer are refused', async () => {
  const path = join(scratchDirectory(), 'file');
  writeFileSync(path, 'text');
  expect(await readSmallFile(path)).toEqual(Buffer.from('text'));
  expect(await readSmallFile('/dev/null')).toEqual(Buffer.alloc(0));
  // The file reports a size of 0.
  expect((await readSmallFile('/proc/self/status')).toString()).toContain('Uid:');
  await expect(readSmallFile(path, 3)).rejects.toThrow('EFBIG');
  await expect(readSmallFile('/dev/zero')).rejects.toThrow('NOT_A_FILE');
  await expect(readSmallFile(pipe())).rejects.toThrow('NOT_A_FILE');
});

it('a pipe in place of a shared file is refused without waiting', async () => {
  const environment = { HOME: scratchDirectory(), AWS_CONFIG_FILE: pipe() };
  const message = /^cannot read \S+pipe \(NOT_A_FILE\)$/;
  await expectKeyError(chosenRegion(environment), 'BAD_OPTION', message);
  await expectKeyError(configuredEndpoint(environment), 'BAD_OPTION', message);
  expect((await unreadableSharedFile(environment))?.message).toMatch(message);
  expect(await secretsOfSharedFiles(environment)).toEqual([]);
});
