import { expect, it } from 'vitest';
import type { Audit } from '../../../../src/audit/audit.ts';
import { systemClock } from '../../../../src/cli/system.ts';
import { KeyError } from '../../../../src/errors.ts';
import { parseAge } from '../../../../src/operate/rotate/age.ts';
import { waitForDisk } from '../../../../src/operate/rotate/disk.ts';
import { rebuildTables } from '../../../../src/operate/rotate/rebuild.ts';
import { tableOfTablespace } from '../../../../src/operate/rotate/table-name.ts';
import { rotateKeys } from '../../../../src/operate/rotate/versions.ts';
import { waitForServer } from '../../../../src/operate/rotate/wait.ts';
import { expectKeyError } from '../../../support/expect-error.ts';
import { ScriptedServer } from '../../../support/scripted-server.ts';

const NEVER = new AbortController().signal;
const AT_ONCE = { ...systemClock, sleep: async () => undefined };

function keyRow(id: number, version: number) {
  return { Variable_name: `Aws_key_management_key_${id}_latest_version`, Value: String(version) };
}

function spaceRow(min: number, latest: number, rotating: number, scheme = 1, name = 'd/t') {
  return {
    SPACE: 7,
    NAME: name,
    ENCRYPTION_SCHEME: scheme,
    MIN_KEY_VERSION: min,
    CURRENT_KEY_VERSION: latest,
    CURRENT_KEY_ID: 3,
    ROTATING_OR_FLUSHING: rotating,
  };
}

it.each([
  ['d/t', { schema: 'd', table: 't' }],
  ['a@002db/t@0020x#P#p0', { schema: 'a-b', table: 't x' }],
  ['d/t@00e9#p#p1#SP#s', { schema: 'd', table: 'té' }],
  ['d/FTS_0000000000000123_DELETED', undefined],
  ['innodb_system', undefined],
  ['innodb_undo001', undefined],
  ['d/@0Gx', undefined],
])('the table of the tablespace %s is found', (name, table) => {
  expect(tableOfTablespace(name)).toEqual(table);
});

it('an age is a number of hours, days or weeks', async () => {
  expect(['12h', '90d', '13w'].map(parseAge)).toEqual([12, 90 * 24, 13 * 7 * 24].map((hours) => hours * 3_600_000));
  for (const text of ['', '90', '0d', '-1d', '1.5d', '90 d', '90m'])
    await expectKeyError(
      () => parseAge(text),
      'BAD_OPTION',
      /^--older-than: expected a number of hours, days or weeks/,
    );
});

it('all keys are rotated by one statement, some by one each, and an interruption stops before the next', async () => {
  const versions = new Map([
    [1, 1],
    [3, 1],
    [5, 1],
  ]);
  const answers = { 'SHOW GLOBAL STATUS': () => [keyRow(1, 2), keyRow(3, 2), keyRow(5, 1)] };
  const all = new ScriptedServer(answers);
  expect(await rotateKeys(all, [1, 3, 5], versions, NEVER)).toEqual({
    rotated: [
      { keyId: 1, from: 1, to: 2 },
      { keyId: 3, from: 1, to: 2 },
    ],
    untried: [],
    problems: [],
  });
  expect(all.asked[0]).toBe('SET GLOBAL aws_key_management_rotate_key = ? | -1');

  const stop = new AbortController();
  const some = new ScriptedServer({
    ...answers,
    SET: () => {
      stop.abort(new Error('interrupted'));
      return [];
    },
  });
  expect(await rotateKeys(some, [1, 3], versions, stop.signal)).toMatchObject({ untried: [3], problems: [] });
  expect(some.asked.filter((text) => text.startsWith('SET'))).toEqual([
    'SET GLOBAL aws_key_management_rotate_key = ? | 1',
  ]);
});

it('a key that KMS refuses is reported, and the next is rotated', async () => {
  const sql = new ScriptedServer({
    'SHOW GLOBAL STATUS': () => [keyRow(1, 1), keyRow(3, 2)],
    SET: (call) => {
      if (call === 0) throw new KeyError('SQL_FAILED', 'the server: key 1: KMS denied it');
      return [];
    },
  });
  const versions = new Map([
    [1, 1],
    [3, 1],
    [5, 1],
  ]);
  expect(await rotateKeys(sql, [1, 3], versions, NEVER)).toMatchObject({
    rotated: [{ keyId: 3, from: 1, to: 2 }],
    problems: [{ code: 'SQL_FAILED' }],
  });
});

it('the wait looks at the view until nothing moves, and never for the latest version everywhere', async () => {
  const looks = [spaceRow(1, 6, 1), spaceRow(5, 6, 1), spaceRow(5, 6, 0)];
  const sql = new ScriptedServer({
    'SELECT SPACE': (call) => [looks[call] ?? spaceRow(5, 6, 0), spaceRow(0, 1, 0, 0, 'd/clear')],
  });
  const seen: string[] = [];
  const retired = await waitForServer({
    sql,
    clock: AT_ONCE,
    signal: NEVER,
    state: { rotateKeyAge: 1, encryptTables: 'ON' },
    keyIds: new Set([3]),
    progress: (done, all) => seen.push(`${done}/${all}`),
  });
  expect(retired).toEqual([{ keyId: 3, version: 4 }]);
  expect(seen).toEqual(['0/1', '0/1', '1/1']);
  expect(sql.asked.every((text) => text.startsWith('SELECT'))).toBe(true);
});

it('the wait ends with the reason of an interruption', async () => {
  const stop = new AbortController();
  const sql = new ScriptedServer({
    'SELECT SPACE': (call) => {
      if (call === 1) stop.abort(new Error('enough'));
      return [spaceRow(1, 6, 1)];
    },
  });
  const waiting = waitForServer({
    sql,
    clock: AT_ONCE,
    signal: stop.signal,
    state: { rotateKeyAge: 1, encryptTables: 'ON' },
    keyIds: new Set([3]),
    progress: () => undefined,
  });
  await expect(waiting).rejects.toThrow('enough');
});

it('a table that fails stays as it was, the next is rebuilt, and an interruption names what is left', async () => {
  const stop = new AbortController();
  const sql = new ScriptedServer({
    'SELECT CONNECTION_ID': () => [{ id: 4 }],
    ALTER: (call) => {
      if (call === 0) throw new KeyError('SERVER_REFUSED', 'the server refused it', { hint: 'GRANT' });
      if (call === 2) {
        stop.abort(new Error('interrupted'));
        throw stop.signal.reason;
      }
      return [];
    },
  });
  const tables = ['a', 'b`', 'c', 'd'].map((table) => ({ schema: 's', table }));
  const rebuilt = await rebuildTables(tables, {
    sql,
    onlooker: new ScriptedServer({}),
    clock: systemClock,
    signal: stop.signal,
    progress: () => undefined,
  });
  expect(rebuilt).toMatchObject({
    done: ['s.b`'],
    left: ['s.a', 's.c', 's.d'],
    problems: [{ code: 'SERVER_REFUSED', message: 's.a is as it was: the server refused it', hint: 'GRANT' }],
  });
  expect(sql.asked).toContain('ALTER TABLE `s`.`b```' + ' FORCE');
});

it('the disk is read again, the files behind alone, until it agrees', async () => {
  const file = (version: number): Audit => ({
    files: [
      {
        file: 'd/t.ibd',
        path: '/data/d/t.ibd',
        kind: 'tablespace',
        bytes: 1,
        state: 'encrypted',
        keyId: 3,
        asked: undefined,
        versions: [
          { version: 1, used: 0, free: 9 },
          { version, used: 5, free: 0 },
        ],
        pages: undefined,
      },
    ],
    unseen: [],
  });
  const asked: unknown[] = [];
  const answers = [file(4), file(4), file(6)];
  const audit = async (files: readonly string[] | undefined) => {
    asked.push(files);
    return answers.shift() ?? file(4);
  };
  const retired = [{ keyId: 3, version: 4 }];
  expect(await waitForDisk(retired, audit, AT_ONCE, NEVER)).toEqual({ behind: [], unseen: [] });
  expect(asked).toEqual([undefined, ['/data/d/t.ibd'], ['/data/d/t.ibd']]);
  expect(await waitForDisk(retired, audit, AT_ONCE, NEVER)).toEqual({ behind: ['/data/d/t.ibd'], unseen: [] });
});
