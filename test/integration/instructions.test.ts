/** Instructions of small encryptions and decryptions, which callgrind counts: times would vary with the machine. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { scratchDirectory } from '../support/scratch.ts';

const PLUGIN = join(import.meta.dirname, '../../plugin');

/**
 * Instructions of an encryption or decryption with AES-CBC or AES-CTR of so many bytes, in one piece or two, divided by
 * those of the calls of OpenSSL that it cannot do without: so a later OpenSSL, or another processor, changes them little.
 */
const PRICES: Readonly<Record<string, number>> = {
  'CBC 7 encrypted': 1.427,
  'CBC 16 encrypted': 1.394,
  'CBC 25 encrypted': 1.381,
  'CBC 57 encrypted': 1.349,
  'CBC 128 encrypted': 1.284,
  'CBC 512 encrypted': 1.145,
  'CBC 48 and 9 encrypted': 1.432,
  'CTR 16 encrypted': 1.382,
  'CTR 25 encrypted': 1.337,
  'CTR 57 encrypted': 1.31,
  'CTR 128 encrypted': 1.322,
  'CTR 512 encrypted': 1.23,
  'CTR 48 and 9 encrypted': 1.497,
  'CBC 7 decrypted': 1.397,
  'CBC 16 decrypted': 1.3,
  'CBC 25 decrypted': 1.272,
  'CBC 57 decrypted': 1.268,
  'CBC 128 decrypted': 1.275,
  'CBC 512 decrypted': 1.215,
  'CBC 48 and 9 decrypted': 1.288,
  'CTR 16 decrypted': 1.349,
  'CTR 25 decrypted': 1.309,
  'CTR 57 decrypted': 1.285,
  'CTR 128 decrypted': 1.295,
  'CTR 512 decrypted': 1.213,
  'CTR 48 and 9 decrypted': 1.468,
};

/** An encryption or a decryption may become dearer by 5 %. */
const TOLERANCE = 1.05;

function instructions(directory: string): ReadonlyMap<string, number> {
  return new Map(
    readdirSync(directory).flatMap((file) => {
      const text = readFileSync(join(directory, file), 'utf8');
      const [, name] = /^desc: Trigger: Client Request: (.+)$/m.exec(text) ?? [];
      const [, total] = /^totals: (\d+)/m.exec(text) ?? [];
      return name === undefined || total === undefined ? [] : [[name, Number(total)] as const];
    }),
  );
}

it('small encryptions and decryptions take at most 5 % more instructions than they did', () => {
  const [out, directory] = [scratchDirectory(), scratchDirectory()];
  execFileSync('make', ['-s', '-C', PLUGIN, `TEST_OUT=${out}`, `${out}/price`]);
  // On one processor, so that contexts are made once.
  const [, cpu = ''] = /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  const command = [cpu, 'valgrind', '-q', '--tool=callgrind', `--callgrind-out-file=${directory}/counted.%p`];
  execFileSync('taskset', ['--cpu-list', ...command, join(out, 'price')]);
  const counted = instructions(directory);
  expect(counted.size).toBe(2 * Object.keys(PRICES).length);
  const dearer = Object.entries(PRICES).flatMap(([name, price]) => {
    const [stream = Number.NaN, openssl = Number.NaN] = ['stream', 'OpenSSL'].map((of) =>
      counted.get(`${name}, ${of}`),
    );
    expect(stream, name).toBeGreaterThan(openssl);
    const now = stream / openssl;
    return now < price * TOLERANCE ? [] : [`${name}: ${now.toFixed(3)} in the place of ${price}`];
  });
  expect(dearer).toEqual([]);
});
