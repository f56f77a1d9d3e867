import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { scratchDirectory } from '../../support/scratch.ts';
import { SecretSearch } from '../../support/secret-search.ts';

const TEXT = 'k/ey+"with\\all=of it: 0123456789';
// Base64url differs from base64 wherever it begins.
const BYTES = Buffer.concat([randomBytes(14), Buffer.alloc(4, 0xff), randomBytes(14)]);
const search = new SecretSearch([
  ['text', TEXT],
  ['bytes', BYTES],
]);

it.each([0, 1, 2])('the secret search finds every form, %i bytes after a multiple of three', (offset) => {
  const around = (secret: Buffer): Buffer => Buffer.concat([Buffer.alloc(offset, 'x'), secret, Buffer.from('yz')]);
  const cases: readonly (readonly [string | Buffer, string])[] = [
    [around(Buffer.from(TEXT)), 'text as raw bytes'],
    [around(BYTES), 'bytes as raw bytes'],
    [around(BYTES).toString('hex'), 'bytes as hex'],
    [around(BYTES).toString('hex').toUpperCase(), 'bytes as HEX'],
    [around(BYTES).toString('base64'), 'bytes as base64'],
    [around(BYTES).toString('base64url'), 'bytes as base64url'],
    [around(Buffer.from(TEXT)).toString('base64'), 'text as base64'],
    [`a=${encodeURIComponent(TEXT)}&`, 'text as URL'],
    [JSON.stringify({ a: TEXT }), 'text as JSON'],
  ];
  for (const [place, found] of cases) expect(search.in(place)).toContain(found);
});

it('the secret search finds a piece of ten bytes, and no shorter one', () => {
  for (let at = 0; at + 10 <= BYTES.length; at += 1) {
    expect(search.in(BYTES.subarray(at, at + 10))).toEqual(['bytes as raw bytes']);
    expect(search.in(BYTES.subarray(at, at + 9))).toEqual([]);
  }
});

it('the secret search finds a short secret as a whole', () => {
  const short = new SecretSearch([['code', '481516']]);
  expect(short.in('TokenCode=481516')).toEqual(['code as raw bytes']);
  expect(short.in(Buffer.from('481516').toString('base64'))).toEqual(['code as base64']);
  expect(short.in('TokenCode=48151')).toEqual([]);
});

it('the secret search finds nothing in a text without secrets', () => {
  expect(search.in(randomBytes(100_000))).toEqual([]);
  expect(search.in('')).toEqual([]);
});

it('the secret search reads every file of a directory', () => {
  const directory = scratchDirectory();
  mkdirSync(join(directory, 'a/b'), { recursive: true });
  writeFileSync(join(directory, 'a/b/c'), Buffer.concat([randomBytes(5_000), BYTES]));
  writeFileSync(join(directory, 'd'), 'nothing');
  expect(search.inFiles(directory)).toEqual([`bytes as raw bytes in ${join(directory, 'a/b/c')}`]);
});
