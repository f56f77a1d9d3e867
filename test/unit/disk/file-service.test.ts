/** Root's file calls in other users' directories, with both ends of the channel in one process. */
import {
  chmodSync,
  chownSync,
  constants,
  linkSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import { expect, it } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import { CarefulFileSystem } from '../../../src/disk/careful-file-system.ts';
import {
  type Channel,
  channelOver,
  FileServiceClient,
  refuseFiles,
  serveFiles,
} from '../../../src/disk/file-service.ts';
import { nodeFileSystem } from '../../../src/disk/file-system.ts';
import { createNew, readWhole, syncDirectory } from '../../../src/disk/files.ts';
import { READ_ONLY } from '../../../src/disk/small-file.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { systemError } from '../../support/memory-fs.ts';
import { scratchDirectory } from '../../support/scratch.ts';

const SOMEBODY = 65_534;

/** Channels that behave like those between two processes. */
function channels(): { here: Channel; there: Channel; cut: () => void } {
  const [here, there] = duplexPair();
  return { here: channelOver(here), there: channelOver(there), cut: () => void here.destroy() };
}

it('a file service makes every call of a key directory, and returns failures with their codes', async () => {
  const { here, there } = channels();
  serveFiles(there, nodeFileSystem);
  const fs = new FileServiceClient(here, 'user 7', systemClock);
  const home = scratchDirectory();
  const path = (name: string): string => join(home, name);
  await fs.mkdir(path('keys'), 0o700);
  const whole = { ...nodeFileSystem, open: fs.open.bind(fs) };
  const file = await createNew(whole, path('keys/a'), Buffer.from('wrapped'), { uid: 0, gid: 0, mode: 0o640 });
  await file.writeFile(Buffer.from('!'));
  await file.close();
  await fs.link(path('keys/a'), path('keys/b'));
  await fs.rename(path('keys/a'), path('keys/c'));
  await fs.unlink(path('keys/b'));
  await syncDirectory(whole, path('keys'));
  expect(await fs.readdir(path('keys'))).toEqual(['c']);
  expect(await readWhole(whole, path('keys/c'), 100)).toEqual(Buffer.from('wrapped!'));
  const { mtimeMs, mode } = await fs.stat(path('keys/c'));
  expect([Math.abs(Date.now() - mtimeMs) < 3_600_000, mode & 0o777]).toEqual([true, 0o640]);
  await expect(fs.link(path('keys/c'), path('keys/c'))).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(fs.open(path('none'), READ_ONLY)).rejects.toMatchObject({
    code: 'ENOENT',
    message: `ENOENT: no such file or directory, open '${path('none')}' (as user 7)`,
  });
  const closed = await fs.open(path('keys/c'), READ_ONLY);
  await closed.close();
  await expect(closed.readFile(1)).rejects.toThrow('file service: expected an open file (as user 7)');
});

it('a client of a file service refuses malformed answers, and fails when the other process has gone', async () => {
  const { here, there, cut } = channels();
  there.onMessage((message) => {
    const { id, call } = message as { id: number; call: string };
    if (call !== 'unlink') there.send({ id, value: call === 'stat' ? { mtimeMs: 'x' } : call === 'open' ? 'x' : [7] });
  });
  const fs = new FileServiceClient(here, 'user 7', systemClock);
  await expectKeyError(fs.readdir('/x'), 'INTERNAL', 'file service: expected text');
  await expectKeyError(fs.open('/x', READ_ONLY), 'INTERNAL', 'file service: expected a number');
  await expectKeyError(fs.stat('/x'), 'INTERNAL', 'file service: expected a time');
  const gone = 'the process that looks at files as user 7 has ended';
  const waiting = expectKeyError(fs.unlink('/x'), 'STORE_UNAVAILABLE', gone);
  cut();
  await waiting;
  await expectKeyError(fs.readdir('/x'), 'STORE_UNAVAILABLE', gone);
});

it("the careful file system looks up a place's owner, once for each user, and does the rest as root", async () => {
  const home = scratchDirectory();
  chmodSync(home, 0o755);
  for (const name of ['roots', 'theirs', 'shared']) mkdirSync(join(home, name));
  chownSync(join(home, 'theirs'), SOMEBODY, SOMEBODY);
  chmodSync(join(home, 'shared'), 0o770);
  const acted: number[] = [];
  const refuse = async (): Promise<never> => {
    throw systemError('EACCES');
  };
  const fs = new CarefulFileSystem(({ uid }) => {
    acted.push(uid);
    return { ...nodeFileSystem, open: refuse, mkdir: refuse, link: refuse, rename: refuse, unlink: refuse };
  });
  const path = (name: string): string => join(home, name);
  const calls = [
    () => fs.open(path('theirs/x'), READ_ONLY),
    () => fs.open(path('theirs'), constants.O_DIRECTORY),
    () => fs.mkdir(path('theirs/x'), 0o700),
    () => fs.link(path('theirs/x'), path('theirs/y')),
    () => fs.rename(path('theirs/x'), path('theirs/y')),
    () => fs.unlink(path('theirs/x')),
  ];
  for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'EACCES' });
  await fs.readdir(path('theirs'));
  expect([acted, await fs.uidAt(path('theirs')), await fs.uidAt(path('roots'))]).toEqual([[SOMEBODY], SOMEBODY, 0]);

  writeFileSync(path('file'), 'of root');
  for (const place of ['roots', 'shared']) {
    symlinkSync(path('file'), path(`${place}/link`));
    linkSync(path('file'), path(`${place}/file`));
    expect((await readWhole(fs, path(`${place}/file`), 100)).toString()).toBe('of root');
  }
  expect((await readWhole(fs, path('roots/link'), 100)).toString()).toBe('of root');
  await expect(readWhole(fs, path('shared/link'), 100)).rejects.toMatchObject({ code: 'ELOOP' });
  expect(readFileSync(path('file'), 'utf8')).toBe('of root');
});

it('a channel closes on malformed messages, and keeps every byte of valid ones', async () => {
  const [here, there] = duplexPair();
  const fs = new FileServiceClient(channelOver(here), 'user 7', systemClock);
  const waiting = expectKeyError(
    fs.readdir('/x'),
    'STORE_UNAVAILABLE',
    'the process that looks at files as user 7 has ended',
  );
  there.write('{"id": 1, "value": [\n');
  await waiting;

  const whole = channels();
  serveFiles(whole.there, nodeFileSystem);
  const client = new FileServiceClient(whole.here, 'user 7', systemClock);
  const path = join(scratchDirectory(), 'bytes');
  const bytes = Buffer.from(Array.from({ length: 70_000 }, (_, index) => index % 256));
  const file = await createNew({ ...nodeFileSystem, open: client.open.bind(client) }, path, bytes);
  await file.close();
  expect(readFileSync(path).equals(bytes)).toBe(true);
  const back = await readWhole({ ...nodeFileSystem, open: client.open.bind(client) }, path, 100_000);
  expect(back.equals(bytes)).toBe(true);
});

it('a client of a file service ends a process that does not answer in time', async () => {
  const { here, there } = channels();
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  there.onMessage(() => undefined);
  here.onClose(resolve);
  const fs = new FileServiceClient(here, 'user 7', systemClock, 50);
  const silent = 'the process that looks at files as user 7 did not answer in 0.05 s';
  await Promise.all(['/x', '/y'].map((path) => expectKeyError(fs.readdir(path), 'STORE_UNAVAILABLE', silent)));
  await ended;
  await expectKeyError(fs.readdir('/x'), 'STORE_UNAVAILABLE', silent);
});

it('a client reports why the other process lacks the rights, and survives an error of the stream', async () => {
  const { here, there } = channels();
  refuseFiles(there, 'EPERM');
  const error = await expectKeyError(
    new FileServiceClient(here, 'user 999', systemClock).readdir('/x'),
    'STORE_UNAVAILABLE',
    'cannot become user 999: EPERM',
  );
  expect(error.hint).toBe('run this as that user');

  const [stream] = duplexPair();
  const fs = new FileServiceClient(channelOver(stream), 'user 7', systemClock);
  const gone = expectKeyError(
    fs.readdir('/x'),
    'STORE_UNAVAILABLE',
    'the process that looks at files as user 7 has ended',
  );
  stream.destroy(systemError('ECONNRESET'));
  await gone;
});

it('a file service reads at most one byte more than was requested, from a growing file', async () => {
  const { here, there } = channels();
  const path = join(scratchDirectory(), 'grows');
  writeFileSync(path, 'x'.repeat(10));
  const open: typeof nodeFileSystem.open = async (...given) => {
    const file = await nodeFileSystem.open(...given);
    return {
      ...file,
      stat: async () => {
        const found = await file.stat();
        writeFileSync(path, 'x'.repeat(500_000));
        return found;
      },
    };
  };
  serveFiles(there, { ...nodeFileSystem, open });
  const client = new FileServiceClient(here, 'user 7', systemClock);
  const file = await client.open(path, READ_ONLY);
  await file.stat();
  expect(await file.readFile(200_000)).toHaveLength(200_001);
  writeFileSync(path, 'x'.repeat(10));
  const fs = { ...nodeFileSystem, open: client.open.bind(client) };
  await expectKeyError(readWhole(fs, path, 100), 'KEY_FILE_CORRUPT', 'expected at most 100 bytes, got more');
});
