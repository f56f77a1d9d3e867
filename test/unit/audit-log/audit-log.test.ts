import { mkdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { nodeAuditFiles } from '../../../src/audit-log/audit-files.ts';
import { type AuditLogParts, type Head, openAuditLog, readHead } from '../../../src/audit-log/audit-log.ts';
import { verifyAuditLog } from '../../../src/audit-log/verify.ts';
import { takeLock } from '../../../src/cli/file-lock.ts';
import { sha256 } from '../../../src/disk/files.ts';
import type { KeyError } from '../../../src/errors.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { systemError } from '../../support/memory-fs.ts';
import { scratchDirectory } from '../../support/scratch.ts';

let path: string;
let heads: Head[];
let warnings: KeyError[];

beforeEach(() => {
  path = join(scratchDirectory(), 'log/audit.log');
  heads = [];
  warnings = [];
});

const files = nodeAuditFiles(process.getuid?.() ?? 0);

function parts(more: Partial<AuditLogParts> = {}): AuditLogParts {
  return {
    path,
    files,
    clock: new FakeClock(),
    lock: async () => async () => undefined,
    writer: { who: 'root', login: 'alice', host: 'db1', pid: 4711, tool: 'mariadb-aws-kms test' },
    redact: (text) => text.replaceAll('hunter2', '***'),
    publish: async (head) => void heads.push(head),
    warn: (problem) => void warnings.push(problem),
    ...more,
  };
}

/** Appends an intent and its outcome. */
async function act(more: Partial<AuditLogParts> = {}, about = {}): Promise<boolean> {
  const action = await openAuditLog(parts(more)).begin('rewrap', about);
  return await action.end('done', { moved: 3 }, ['request-1']);
}

function lines(): string[] {
  return readFileSync(path, 'utf8').split('\n').slice(0, -1);
}

function verify(head?: string, bytes: Buffer = readFileSync(path)) {
  const { problems, notes, entries } = verifyAuditLog(bytes, { head, before: undefined });
  return { problems: problems.map(({ message }) => message), notes, entries };
}

it('an action appends its intent and its outcome, chained, published, and without secrets', async () => {
  expect(await act({}, { to: 'alias/x', words: ['hunter2'], of: { deep: 'a hunter2 b' } })).toBe(true);
  const [first = '', second = ''] = lines();
  expect(JSON.parse(first)).toEqual({
    seq: 1,
    time: expect.stringMatching(/^\d{4}-.*Z$/),
    who: 'root',
    login: 'alice',
    host: 'db1',
    pid: 4711,
    tool: 'mariadb-aws-kms test',
    command: 'rewrap',
    event: 'intent',
    about: { to: 'alias/x', words: ['***'], of: { deep: 'a *** b' } },
    previous: '0'.repeat(64),
    hash: sha256(Buffer.from(first.replace(/,"hash":"[0-9a-f]{64}"\}$/, ''))),
  });
  expect(JSON.parse(second)).toMatchObject({
    seq: 2,
    event: 'outcome',
    intent: 1,
    outcome: 'done',
    about: { moved: 3 },
    kmsRequestIds: ['request-1'],
    previous: JSON.parse(first).hash,
  });
  expect(heads).toMatchObject([
    { seq: 1, hash: JSON.parse(first).hash },
    { seq: 2, hash: JSON.parse(second).hash },
  ]);
  expect(await readHead(path, files)).toEqual(heads.at(-1));
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
  expect(verify()).toMatchObject({ problems: [], notes: [] });
});

it('twelve commands at once make one chain', async () => {
  const lock = async (directory: string) => await takeLock(directory, 10);
  await Promise.all(Array.from({ length: 12 }, () => act({ lock })));
  const { problems, notes, entries } = verify();
  expect({ problems, notes, entries: entries.length }).toEqual({ problems: [], notes: [], entries: 24 });
});

it('a lock that another process keeps stops the command', async () => {
  mkdirSync(dirname(path));
  const release = await takeLock(dirname(path), 0);
  const lock = async (directory: string) => await takeLock(directory, 0);
  await expectKeyError(act({ lock }), 'AUDIT_LOG_UNUSABLE', /^cannot lock the audit log .*: another process has it$/);
  await release();
  expect(await act({ lock })).toBe(true);
});

const TORN = [
  ['a part of a line', (text: string) => `${text}{"seq":3,"ti`],
  ['a part that ends in a line feed', (text: string) => `${text}{"seq":3,"ti\n`],
  ['zeros', (text: string) => `${text}${'\0'.repeat(4096)}`],
  [
    'bytes that are no UTF-8',
    (text: string) => Buffer.concat([Buffer.from(text), Buffer.from([0xff, 0xc3, 0x0a, 0x80])]),
  ],
  ['two interrupted writes', (text: string) => `${text}{"seq":3\n{"seq":3,"time":"20`],
  ['nothing before it', () => '{"seq":1,"ti'],
] as const;

it.each(TORN)('the chain goes on after %s that a power cut left, and verify tells of it', async (_, cut) => {
  await act();
  writeFileSync(path, cut(readFileSync(path, 'utf8')));
  expect(verify()).toMatchObject({
    problems: [],
    notes: expect.arrayContaining(['the end is an interrupted write: the next command says so, and goes on after it']),
  });
  await act();
  await act();
  const { problems, notes } = verify();
  expect(problems).toEqual([]);
  expect(notes).toEqual([expect.stringMatching(/^line \d: an interrupted write left \d+ bytes before it$/)]);
});

it('an end that was cut within a line is a torn entry, and its intent has no outcome', async () => {
  await act();
  const whole = readFileSync(path);
  // Nothing is missing but the line feed.
  writeFileSync(path, whole.subarray(0, -1));
  await act();
  expect(verify()).toMatchObject({ problems: [], notes: [] });
  for (const cut of [2, 30, 100]) {
    writeFileSync(path, whole.subarray(0, -cut));
    await act();
    const { problems, notes } = verify();
    expect(problems).toEqual([]);
    expect(notes).toEqual([
      expect.stringMatching(/^line 3: an interrupted write left \d+ bytes before it$/),
      'entry 1: rewrap has no outcome: process 4711 on db1 was ended, or is at work',
    ]);
  }
});

it('verify finds each changed byte, each lost line, and each two lines in other order', async () => {
  for (let count = 0; count < 3; count += 1) await act();
  const whole = lines();
  const text = (changed: readonly string[]) => Buffer.from(changed.map((line) => `${line}\n`).join(''));
  expect(verify(undefined, text(whole)).problems).toEqual([]);
  const bytes = text(whole);
  const unfound: number[] = [];
  for (let at = 0; at < bytes.length; at += 1) {
    const spoilt = Buffer.from(bytes);
    spoilt[at] = (spoilt[at] ?? 0) ^ 1;
    // A change within the last line, which makes it no entry, cannot be told from a write that was interrupted.
    if (verify(heads.at(-1)?.hash, spoilt).problems.length === 0) unfound.push(at);
  }
  expect(unfound).toEqual([]);
  for (const [index] of whole.entries()) {
    const left = whole.toSpliced(index, 1);
    if (index < 5) expect(verify(undefined, text(left)).problems, `without line ${index + 1}`).not.toEqual([]);
    expect(verify(heads.at(-1)?.hash, text(left)).problems, `without line ${index + 1}`).not.toEqual([]);
  }
  expect(verify(undefined, text(whole.with(2, whole[3] ?? '').with(3, whole[2] ?? ''))).problems).toEqual([
    'line 3: entry 4 follows entry 2: 1 between them are missing',
    'line 4: entry 3 follows entry 4: they are out of order, or there twice',
    'line 5: entry 5 follows entry 3: 1 between them are missing',
  ]);
});

it('a head shows that the end was cut off, or that all was written anew', async () => {
  await act();
  const [first] = lines();
  await act();
  const head = heads.at(-1)?.hash ?? '';
  expect(verify(head).problems).toEqual([]);
  expect(verify(heads[0]?.hash).problems).toEqual([]);
  writeFileSync(path, `${first}\n`);
  expect(verify().problems).toEqual([]);
  expect(verify(head).problems).toEqual([
    `no entry has the hash ${head}: it was cut off or written anew; it ends with entry 1, ${heads[0]?.hash}`,
  ]);
});

it('a changed last entry stops the command, and the printed command lets another log begin', async () => {
  await act();
  writeFileSync(path, readFileSync(path, 'utf8').replace('"moved":3', '"moved":4'));
  const before = readFileSync(path);
  const error = await expectKeyError(
    act(),
    'AUDIT_LOG_UNUSABLE',
    `the last entry of the audit log ${path}, number 2, is not as it was written`,
  );
  expect(readFileSync(path)).toEqual(before);
  const [, from = '', to = ''] = / mv (\S+) (\S+);/.exec(error.hint) ?? [];
  renameSync(from, to);
  await act();
  expect(verify()).toMatchObject({ problems: [], entries: [{ seq: 1 }, { seq: 2 }] });
});

it.each(['.1', '-20300101'])('the file after one that was rotated to %s goes on from it', async (ending) => {
  await act();
  renameSync(path, `${path}${ending}`);
  expect(await readHead(path, files)).toMatchObject({ seq: 2, hash: heads.at(-1)?.hash });
  await act();
  const before = { seq: 2, hash: heads[1]?.hash ?? '' };
  const found = verifyAuditLog(readFileSync(path), { head: before.hash, before });
  expect(found).toMatchObject({ problems: [], entries: [{ seq: 3, previous: before.hash }, { seq: 4 }] });
  const both = Buffer.concat([readFileSync(`${path}${ending}`), readFileSync(path)]);
  expect(verify(heads.at(-1)?.hash, both).problems).toEqual([]);
  const other = verifyAuditLog(readFileSync(path), { head: undefined, before: { seq: 1, hash: before.hash } });
  expect(other.problems.map(({ message }) => message)).toEqual([
    'line 1: entry 3 follows entry 1 of the file before: 1 between them are missing',
  ]);
});

it('of several rotated files the last one counts', async () => {
  for (const ending of ['.2', '.1', '']) {
    await act();
    if (ending !== '') renameSync(path, `${path}${ending}`);
  }
  expect(lines().map((line) => JSON.parse(line).seq)).toEqual([5, 6]);
});

it.each(['open', 'read', 'append'])(
  'a system that fails to %s stops the command before it does anything',
  async (call) => {
    await act();
    const before = readFileSync(path);
    const failing = {
      ...files,
      open: async (file: string) => {
        if (call === 'open') throw systemError('EACCES');
        const opened = await files.open(file);
        const fail = () => Promise.reject(systemError('ENOSPC'));
        return { ...opened, ...(call === 'read' ? { read: fail } : { append: fail }) };
      },
    };
    const verb = call === 'append' ? 'write' : call;
    const reason = call === 'open' ? 'EACCES' : 'ENOSPC';
    await expectKeyError(
      act({ files: failing }),
      'AUDIT_LOG_UNUSABLE',
      `cannot ${verb} the audit log ${path}: ${reason}`,
    );
    expect(readFileSync(path)).toEqual(before);
    expect(await act()).toBe(true);
  },
);

it('an outcome that cannot be written is a warning, and the action says so', async () => {
  const action = await openAuditLog(parts()).begin('rewrap', {});
  renameSync(dirname(path), `${dirname(path)}.away`);
  writeFileSync(dirname(path), '');
  expect(await action.end('done', {})).toBe(false);
  expect(warnings.map(({ message }) => message)).toEqual([
    expect.stringMatching(/^the outcome, "done", is not in the audit log: cannot \S+ the audit log .*/),
  ]);
});

it('a link or a directory in place of the log is refused', async () => {
  mkdirSync(dirname(path));
  const target = join(dirname(path), 'elsewhere');
  writeFileSync(target, 'x');
  symlinkSync(target, path);
  await expectKeyError(act(), 'AUDIT_LOG_UNUSABLE', `cannot open the audit log ${path}: ELOOP`);
  expect(readFileSync(target, 'utf8')).toBe('x');
  const directory = join(dirname(path), 'directory');
  mkdirSync(directory);
  await expectKeyError(
    act({ path: directory }),
    'AUDIT_LOG_UNUSABLE',
    `cannot open the audit log ${directory}: EISDIR`,
  );
});
