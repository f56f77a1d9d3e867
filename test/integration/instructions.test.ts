/** Instructions of small encryptions, which callgrind counts: times would vary with the machine. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { scratchDirectory } from '../support/scratch.ts';

const PLUGIN = join(import.meta.dirname, '../../plugin');

/**
 * Instructions of an encryption with AES-CBC or AES-CTR of so many bytes, in one piece or two, divided by those of the calls
 * of OpenSSL that it cannot do without: so a later OpenSSL, or another processor, changes them little.
 */
const PRICES: Readonly<Record<string, number>> = {
  'CBC 7': 1.437,
  'CBC 16': 1.43,
  'CBC 25': 1.403,
  'CBC 57': 1.369,
  'CBC 128': 1.307,
  'CBC 48 and 9': 1.448,
  'CTR 16': 1.374,
  'CTR 57': 1.303,
  'CTR 48 and 9': 1.492,
};

/** An encryption may become dearer by 5 %. */
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

it('small encryptions take at most 5 % more instructions than they did', () => {
  const [out, directory] = [scratchDirectory(), scratchDirectory()];
  execFileSync('make', ['-s', '-C', PLUGIN, `TEST_OUT=${out}`, `${out}/price`]);
  // On one processor, so that contexts are made once.
  const command = ['0', 'valgrind', '-q', '--tool=callgrind', `--callgrind-out-file=${directory}/counted.%p`];
  execFileSync('taskset', ['--cpu-list', ...command, join(out, 'price')]);
  const counted = instructions(directory);
  expect(counted.size).toBe(2 * Object.keys(PRICES).length);
  for (const [name, price] of Object.entries(PRICES)) {
    const [stream = Number.NaN, openssl = Number.NaN] = ['stream', 'OpenSSL'].map((of) =>
      counted.get(`${name}, ${of}`),
    );
    expect(stream, name).toBeGreaterThan(openssl);
    expect(stream / openssl, name).toBeLessThan(price * TOLERANCE);
  }
});
