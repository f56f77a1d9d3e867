/** Any directory is verified to its end: each file is right, has failures that name their place, or is told as unseen. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { nodeDataFiles } from '../../src/data/data-files.ts';
import { type VerifiedData, type VerifiedFile, type VerifiedPlace, verifyData } from '../../src/decrypt/verify-data.ts';
import { dataLocations } from '../../src/server/data-locations.ts';
import type { AnyDirectory } from './any-directory.ts';
import { ANY_KEYS } from './any-keys.ts';
import { THIS_THREAD } from './decrypted-tablespace-property.ts';
import { withFiles } from './scratch-files.ts';

const SIGNAL = new AbortController().signal;
const TWO_FILES = 'ibdata1:12M;ibdata2:12M:autoextend';
/** A place in the file, or the key that the file needs. */
const PLACE =
  /\b(?:pages? \d+|position \d+|(?:at|from) \d+|(?:first|last|its last|it has) \d+|begin|it is no |its encryption scheme|key \d+ version)/;

async function verifyDirectory(files: AnyDirectory, turn: number): Promise<void> {
  await withFiles(files, async (directory) => {
    const locations = dataLocations(directory, (name) =>
      name === 'innodb_data_file_path' && turn % 2 === 0 ? TWO_FILES : undefined,
    );
    const place: VerifiedPlace =
      turn % 3 === 0
        ? { files: [...files.keys()].map((path) => join(directory, path)) }
        : { locations, more: [...files.keys()].map((path) => join(directory, path)) };
    let most = 0;
    const result = await verifyData([place], {
      keys: ANY_KEYS,
      threads: THIS_THREAD,
      random: () => 0.5,
      signal: SIGNAL,
      disk: nodeDataFiles,
      progress: (_, bytes) => {
        if (bytes < most) throw new Error('the progress goes back');
        most = bytes;
      },
    });
    expectTold(result);
    if (turn % 8 === 0)
      for (const [path, bytes] of files)
        if (!readFileSync(join(directory, path)).equals(bytes)) throw new Error(`${path} has changed`);
    return [];
  });
}

function expectTold({ files, keyProblems, unseen }: VerifiedData): void {
  for (const file of files) expectFile(file);
  for (const { message } of keyProblems)
    if (!/^key \d+ version \d+/.test(message)) throw new Error(`a key problem: ${message}`);
  for (const { path, reason } of unseen)
    if (path === '' || reason === '') throw new Error(`unseen: ${path}: ${reason}`);
}

function expectFile({ file, failures, missing, failed, failedFree, unproven, versions, proofs }: VerifiedFile): void {
  const fail = (what: string): never => {
    throw new Error(`${file}: ${what}: ${failures[0]}`);
  };
  const numbers = [failed, failedFree, unproven, ...Object.values(proofs)];
  for (const { version, decrypted = 0 } of versions) numbers.push(version - 1, decrypted);
  for (const { version, pages } of missing) numbers.push(version - 1, pages);
  if (!numbers.every((number) => Number.isInteger(number) && number >= 0)) fail(`numbers ${numbers.join(' ')}`);
  if (failures.length + missing.length > 0 !== failed > 0) fail(`${failed} failures`);
  for (const text of failures) if (!PLACE.test(text)) fail(`a failure without a place: ${text}`);
}

export function verifiedDataProperty(
  directory: fc.Arbitrary<AnyDirectory>,
  within: (run: () => Promise<void>) => Promise<void>,
): fc.IRawProperty<unknown> {
  return fc.asyncProperty(directory, fc.nat({ max: 47 }), (files, turn) => within(() => verifyDirectory(files, turn)));
}
