import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { DecryptCommand, EncryptCommand } from '@aws-sdk/client-kms';
import { describe, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import { createEmbeddedKms, emptyState, initialState, openStateFile } from '../../../src/dev-kms/index.ts';
import { KeyError } from '../../../src/errors.ts';
import { client, endpoint, present } from './endpoint.ts';

const REGION = 'us-east-1';

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'embedded-kms-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const stateFile = () => join(directory(), 'kms.json');
const openEmpty = (path: string) => openStateFile(path, emptyState, randomBytes);

function refusal(work: () => unknown): KeyError {
  try {
    work();
  } catch (error) {
    if (error instanceof KeyError) return error;
    throw error;
  }
  throw new Error('expected a KeyError, got success');
}

test('a restart keeps the keys, in a file that only its owner may read', async () => {
  const path = stateFile();
  const first = await endpoint({ stateFile: path, aliases: ['alias/main'] });
  const { CiphertextBlob } = await client(first).send(
    new EncryptCommand({ KeyId: 'alias/main', Plaintext: Buffer.from('x') }),
  );
  await first.close();
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(path, '..'))).toEqual(['kms.json']);

  const before = readFileSync(path);
  const second = await endpoint({ stateFile: path, aliases: ['alias/main'] });
  expect(second.keyArns).toEqual(first.keyArns);
  const opened = await client(second).send(new DecryptCommand({ CiphertextBlob }));
  expect(Buffer.from(present(opened.Plaintext)).toString()).toBe('x');
  expect(readFileSync(path)).toEqual(before);
});

test('processes that start at once end up with the same key material', async () => {
  const path = stateFile();
  const node = join(import.meta.dirname, '../../../node_modules/.bin/node');
  const script = join(import.meta.dirname, 'create-state.ts');
  const run = () => promisify(execFile)(node, [script, path]);
  const answers = (await Promise.all([run(), run(), run(), run()])).map(({ stdout }) => stdout);
  expect(answers[0]).toMatch(/^arn:aws:kms:us-east-1:111122223333:key\/[0-9a-f-]{36} [0-9a-f]{64}\n$/);
  expect(new Set(answers).size).toBe(1);
  expect(readdirSync(join(path, '..'))).toEqual(['kms.json']);
});

test('another process’s change is visible to the next call', () => {
  const path = stateFile();
  const parts = { clock: systemClock, randomBytes };
  const one = createEmbeddedKms({ ...parts, state: openEmpty(path) });
  const two = createEmbeddedKms({ ...parts, state: openEmpty(path) });
  const arn = one.ensureAlias(REGION, 'alias/a');
  expect(two.ensureAlias(REGION, 'alias/a')).toBe(arn);
  const other = two.ensureAlias(REGION, 'alias/b');
  expect(one.ensureAlias(REGION, 'alias/b')).toBe(other);
});

test('a change that another process overtakes is repeated on top of it', () => {
  const path = stateFile();
  const parts = { clock: systemClock, randomBytes };
  const [slow, fast] = [openEmpty(path), createEmbeddedKms({ ...parts, state: openEmpty(path) })];
  let rounds = 0;
  slow.change((state) => {
    rounds += 1;
    if (rounds === 1) fast.ensureAlias(REGION, 'alias/fast');
    state.keys.push({ ...present(initialState({ ...parts, region: REGION, aliases: ['alias/x'] }).keys[0]) });
  });
  expect(rounds).toBe(2);
  expect(slow.read().keys).toHaveLength(2);
  expect(slow.read().aliases).toMatchObject([{ name: 'alias/fast' }]);
  expect(readdirSync(join(path, '..'))).toEqual(['kms.json']);
});

test('a change that would leave a malformed state is refused', () => {
  const path = stateFile();
  const state = openEmpty(path);
  const before = readFileSync(path);
  const change = () =>
    state.change((next) =>
      next.aliases.push({ region: REGION, name: 'x', targetKeyId: '', createdAt: 0, updatedAt: 0 }),
    );
  expect(refusal(change).message).toBe(`state file ${path}: "aliases[0].name" is malformed`);
  expect(readFileSync(path)).toEqual(before);
  expect(readdirSync(join(path, '..'))).toEqual(['kms.json']);
});

test('a change that is refused changes nothing', () => {
  const path = stateFile();
  const kms = createEmbeddedKms({ clock: systemClock, randomBytes, state: openEmpty(path) });
  kms.ensureAlias(REGION, 'alias/a');
  const before = readFileSync(path);
  const caller = { accessKeyId: '', denied: [] };
  expect(() => kms.call(REGION, caller, 'CreateAlias', { AliasName: 'alias/b', TargetKeyId: 'no' })).toThrow(
    "Invalid keyId 'no'",
  );
  expect(readFileSync(path)).toEqual(before);
});

describe('a file that holds no state is refused and left as it is', () => {
  const good = () => {
    const parts = { clock: systemClock, randomBytes, region: REGION, aliases: ['alias/main'] };
    const { format, accountId, keys, aliases } = initialState(parts);
    return { format, accountId, keys, aliases, key: present(keys[0]), alias: present(aliases[0]) };
  };
  const rows: readonly (readonly [what: string, text: () => string, reason: string])[] = [
    ['empty', () => '', 'is not JSON'],
    ['cut off', () => JSON.stringify(good()).slice(0, -20), 'is not JSON'],
    ['null', () => 'null', '"state" expected an object'],
    ['other format', () => JSON.stringify({ ...good(), format: 2 }), '"format" expected 1'],
    ['account', () => JSON.stringify({ ...good(), accountId: '1' }), '"accountId" is malformed'],
    ['no keys', () => JSON.stringify({ ...good(), keys: {} }), '"keys" expected an array'],
    [
      'key twice',
      () => {
        const s = good();
        return JSON.stringify({ ...s, keys: [s.key, s.key] });
      },
      'keys[1] is there twice',
    ],
    [
      'alias twice',
      () => {
        const s = good();
        return JSON.stringify({ ...s, aliases: [s.alias, s.alias] });
      },
      'aliases[1] is there twice',
    ],
    [
      'short material',
      () => {
        const s = good();
        return JSON.stringify({ ...s, keys: [{ ...s.key, material: { ...s.key.material, key: 'AAAA' } }] });
      },
      '"keys[0].material.key" is malformed',
    ],
    [
      'key id',
      () => {
        const s = good();
        return JSON.stringify({ ...s, keys: [{ ...s.key, keyId: 'x' }] });
      },
      '"keys[0].keyId" is malformed',
    ],
    [
      'enabled',
      () => {
        const s = good();
        return JSON.stringify({ ...s, keys: [{ ...s.key, enabled: 1 }] });
      },
      '"keys[0].enabled" expected a boolean',
    ],
    [
      'deletion',
      () => {
        const s = good();
        return JSON.stringify({ ...s, keys: [{ ...s.key, deletion: { windowDays: 'x' } }] });
      },
      '"keys[0].deletion.windowDays" is malformed',
    ],
    [
      'alias name',
      () => {
        const s = good();
        return JSON.stringify({ ...s, aliases: [{ ...s.alias, name: 'main' }] });
      },
      '"aliases[0].name" is malformed',
    ],
  ];
  test.each(rows)('%s', (_what, text, reason) => {
    const path = stateFile();
    const written = text();
    writeFileSync(path, written);
    const error = refusal(() => openEmpty(path));
    expect({ code: error.code, message: error.message }).toEqual({
      code: 'KEY_FILE_CORRUPT',
      message: `state file ${path}: ${reason}`,
    });
    expect(error.hint).toContain('left as it is');
    expect(readFileSync(path, 'utf8')).toBe(written);
    expect(readdirSync(join(path, '..'))).toEqual(['kms.json']);
  });

  test('a state file that is damaged while in use is refused', () => {
    const path = stateFile();
    const kms = createEmbeddedKms({ clock: systemClock, randomBytes, state: openEmpty(path) });
    kms.ensureAlias(REGION, 'alias/a');
    writeFileSync(path, '{');
    expect(refusal(() => kms.ensureAlias(REGION, 'alias/b')).code).toBe('KEY_FILE_CORRUPT');
    expect(readFileSync(path, 'utf8')).toBe('{');
    rmSync(path);
    const gone = refusal(() => kms.ensureAlias(REGION, 'alias/b'));
    expect(gone).toMatchObject({ code: 'STORE_UNAVAILABLE', message: `state file ${path}: is gone` });
    expect(readdirSync(join(path, '..'))).toEqual([]);
  });
});

test('a missing directory, and a file that is no state, are refused', () => {
  const missing = join(directory(), 'none', 'kms.json');
  expect(refusal(() => openEmpty(missing))).toMatchObject({
    code: 'STORE_UNAVAILABLE',
    message: `state file ${missing}: cannot be written (ENOENT)`,
  });
  const folder = directory();
  expect(refusal(() => openEmpty(folder))).toMatchObject({
    code: 'STORE_UNAVAILABLE',
    message: `state file ${folder}: cannot be read (EISDIR)`,
  });
});

test('an unreadable state file does not count as missing', () => {
  // A name that cannot be followed stops root as well, unlike file modes.
  const path = stateFile();
  symlinkSync(path, path);
  expect(refusal(() => openEmpty(path))).toMatchObject({
    code: 'STORE_UNAVAILABLE',
    message: `state file ${path}: cannot be read (ELOOP)`,
  });
});
