import { execFileSync } from 'node:child_process';
import { readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { nodeFileSystem } from '../../../src/disk/file-system.ts';
import { RewrapLock } from '../../../src/keystore/rewrap-lock.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs, systemError } from '../../support/memory-fs.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const PATH = '/keys/aws-kms-rewrap-lock';
const OTHERS = 'rewrap by process 9 on db2 since 2029-12-31T23:59:00.000Z x\n';
const LOST = 'this rewrap does not have aws-kms-rewrap-lock in /keys any more: ';
let clock: FakeClock;
let fs: MemoryFs;
let told: string[];

beforeEach(() => {
  clock = new FakeClock();
  fs = new MemoryFs();
  told = [];
});

/** Takes the lock as a process on another machine, whose clock may differ. */
async function take(host = 'db1', itsClock = clock): Promise<RewrapLock> {
  const disk = { fileSystem: fs, clock: itsClock, random: Math.random };
  const tell = (line: string): void => void told.push(line);
  return await itsClock.runUntil(RewrapLock.take('/keys', { host, pid: 4711 }, disk, tell));
}

function put(text: string): void {
  fs.files.set(PATH, { bytes: Buffer.from(text), synced: true });
}

function lockText(): string | undefined {
  return fs.files.get(PATH)?.bytes.toString();
}

it('the lock is a readable line of text, grows while it is held, and is removed by its holder', async () => {
  const lock = await take();
  expect(lockText()).toMatch(/^rewrap by process 4711 on db1 since 2030-01-01T00:00:00.000Z \S+\n$/);
  expect([...fs.files.keys()]).toEqual([PATH]);
  await clock.advance(6_000);
  expect(lockText()).toMatch(/\n{4}$/);
  await lock.assertHeld();
  await lock.release();
  expect([...fs.files.keys()]).toEqual([]);
  expect(clock.pendingTimers).toBe(0);
  expect(told).toEqual([]);
});

it('the lock is refused while its holder is alive, whatever the wall clocks say', async () => {
  const lock = await take();
  clock.jumpWall(-86_400_000);
  const error = await expectKeyError(
    take('db2'),
    'KEY_EXISTS',
    'another rewrap of /keys is at work: process 4711 on db1 since 2030-01-01T00:00:00.000Z',
  );
  expect(error.hint).toContain(`has seen no sign of life for 20 s, or at once after: rm ${PATH}`);
  expect([...fs.files.keys()]).toEqual([PATH]);
  // A process that did not wait would remove the lock of a live one.
  expect(told).toEqual([]);
  await lock.assertHeld();
  await lock.release();
});

/** The clock of a machine that pauses, or whose file server does. */
class StallingClock extends FakeClock {
  awayMs = 0;

  override monotonicMs(): number {
    return super.monotonicMs() + this.awayMs;
  }
}

it('the lock is not taken over by a process that was paused: its earlier observations do not count', async () => {
  put(OTHERS);
  const stalling = new StallingClock();
  let looks = 0;
  fs.before = (call) => {
    if (call !== 'link') return;
    looks += 1;
    if (looks === 3) stalling.awayMs = 25_000;
    if (looks === 6) put(`${OTHERS}\n`);
  };
  await expectKeyError(
    take('db1', stalling),
    'KEY_EXISTS',
    'another rewrap of /keys is at work: process 9 on db2 since 2029-12-31T23:59:00.000Z',
  );
  expect(looks).toBe(6);
});

it('a lock that is a dangling link is named without waiting', async () => {
  fs.before = (call, path) => {
    if (call === 'link') throw systemError('EEXIST');
    if (call === 'open' && path === PATH) throw systemError('ENOENT');
  };
  const error = await expectKeyError(
    take(),
    'STORE_UNAVAILABLE',
    `${PATH} is not the lock of a rewrap: it is there, and cannot be read`,
  );
  expect(error.hint).toContain(`move ${PATH} away`);
});

it.each(['link', 'FIFO'])('the holder writes to its own file, and to no %s put in its place', async (what) => {
  const directory = scratchDirectory();
  const victim = join(directory, 'victim');
  writeFileSync(victim, 'of somebody else');
  // The owner of the directory acts before the process that creates the lock in it.
  const fileSystem = {
    ...nodeFileSystem,
    link: async (existing: string, path: string) => {
      renameSync(existing, join(directory, 'made'));
      if (what === 'link') symlinkSync(victim, existing);
      else execFileSync('mkfifo', [existing]);
      await nodeFileSystem.link(existing, path);
    },
  };
  const disk = { fileSystem, clock, random: Math.random };
  const lock = await RewrapLock.take(directory, { host: 'db1', pid: 4711 }, disk, () => undefined);
  const made = (): string => readFileSync(join(directory, 'made'), 'utf8');
  while (!made().endsWith('\n\n')) await clock.advance(2_000);
  expect(readFileSync(victim, 'utf8')).toBe('of somebody else');
  await expect(lock.assertHeld()).rejects.toThrow(
    what === 'link' ? 'any more: it is of a process that it does not name' : 'it is not a regular file',
  );
  await lock.release();
  expect(readFileSync(victim, 'utf8')).toBe('of somebody else');
});

it.each([
  ['of one that was killed', OTHERS, 'process 9 on db2 since 2029-12-31T23:59:00.000Z'],
  ['cut off by a power loss', '', 'a process that it does not name'],
  ['of anything', '\u001b[2J\n', 'a process that it does not name'],
])('the lock is taken over, %s, when it has not changed for 20 s', async (_, text, who) => {
  put(text);
  const startedMs = clock.monotonicMs();
  const lock = await take();
  expect(clock.monotonicMs() - startedMs).toBe(20_000);
  expect(told).toEqual([
    `${PATH} is of ${who}, who has shown no sign of life for 5 s; taking over after 20 s (if you know that it is not at work any more: rm ${PATH})`,
  ]);
  expect(lockText()).toContain('process 4711');
  await lock.assertHeld();
  await lock.release();
  expect([...fs.files.keys()]).toEqual([]);
});

it('the lock is free at once when somebody removes that of a killed process', async () => {
  put(OTHERS);
  const taking = take();
  await clock.settle();
  fs.files.delete(PATH);
  const lock = await taking;
  expect(clock.monotonicMs()).toBeLessThan(3_000);
  await lock.release();
});

it('the lock has only one holder when two take it over at the same moment', async () => {
  put(OTHERS);
  const disk = { fileSystem: fs, clock, random: Math.random };
  const both = ['db1', 'db2'].map((host) => RewrapLock.take('/keys', { host, pid: 1 }, disk, () => undefined));
  const taken = await clock.runUntil(Promise.allSettled(both));
  const locks = taken.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const held = await Promise.allSettled(locks.map((lock) => lock.assertHeld()));
  expect(held.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  for (const lock of locks) await lock.release();
  expect([...fs.files.keys()]).toEqual([]);
});

it('the holder notices that its lock was taken over or removed, and leaves it alone', async () => {
  const lock = await take();
  put(OTHERS);
  const text = `${LOST}it is of process 9 on db2 since 2029-12-31T23:59:00.000Z`;
  await expectKeyError(lock.assertHeld(), 'STORE_UNAVAILABLE', text);
  await lock.release();
  expect(lockText()).toBe(OTHERS);
  fs.files.delete(PATH);
  const next = await take();
  fs.files.delete(PATH);
  await expectKeyError(next.assertHeld(), 'STORE_UNAVAILABLE', `${LOST}it is gone`);
  await next.release();
});

it('a lock that could not be renewed for half of that time is lost: nothing more is replaced under it', async () => {
  const lock = await take();
  fs.before = (call) => {
    if (call === 'write') throw systemError('ENOSPC');
  };
  await clock.advance(10_000);
  await lock.assertHeld();
  await clock.advance(1_000);
  await expectKeyError(lock.assertHeld(), 'STORE_UNAVAILABLE', `${LOST}it could not be renewed for 11 s`);
  fs.before = () => undefined;
  await clock.advance(2_000);
  await lock.assertHeld();
  await lock.release();
});

it('the lock is held when a file server created it and reported that the name existed', async () => {
  const link = fs.link.bind(fs);
  fs.link = async (existing, path) => {
    await link(existing, path);
    throw systemError('EEXIST');
  };
  const lock = await take();
  expect(told).toEqual([]);
  await lock.assertHeld();
  await lock.release();
});

it('a lock that cannot be created is an error, and leaves nothing behind', async () => {
  fs.before = (call) => {
    if (call === 'link') throw systemError('EROFS');
  };
  await expectKeyError(
    take(),
    'STORE_UNAVAILABLE',
    'cannot make aws-kms-rewrap-lock in the key directory /keys: EROFS: injected',
  );
  expect([...fs.files.keys()]).toEqual([]);
});
