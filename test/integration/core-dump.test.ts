import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { scratchDirectory } from '../support/scratch.ts';

const PLUGIN = join(import.meta.dirname, '../../plugin');
const KEY_SEED = 1;
const OTHER_SEED = 2;
const BYTES = 32;

/** The same bytes as `make_bytes` in plugin/test/keys/dump.c. */
function bytesOf(seed: number): Buffer {
  let state = seed;
  return Buffer.from(
    Array.from({ length: BYTES }, () => {
      state = (state ^ (state << 13)) >>> 0;
      state = (state ^ (state >>> 17)) >>> 0;
      state = (state ^ (state << 5)) >>> 0;
      return state & 0xff;
    }),
  );
}

it('a core dump of a process with a key in its key table contains neighbouring memory but not the key', () => {
  const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim();
  expect(pattern, 'core dumps go elsewhere: as root, sysctl -w kernel.core_pattern=core').not.toMatch(/^[|/]/);
  const [out, directory] = [scratchDirectory(), scratchDirectory()];
  execFileSync('make', ['-s', '-C', PLUGIN, `TEST_OUT=${out}`, `${out}/dump`]);
  const { signal } = spawnSync(join(out, 'dump'), { cwd: directory });
  expect(signal).toBe('SIGABRT');
  const [core = ''] = readdirSync(directory);
  const dump = readFileSync(join(directory, core));
  expect(dump.includes(bytesOf(OTHER_SEED))).toBe(true);
  for (let at = 0; at + 8 <= BYTES; at += 4) {
    expect(dump.includes(bytesOf(KEY_SEED).subarray(at, at + 8)), `bytes ${at} to ${at + 8} of the key`).toBe(false);
  }
});
