import { beforeEach, describe, expect, it } from 'vitest';
import { keyCheckValue, wipe } from '../../../src/bytes.ts';
import { DEFAULT_REGION } from '../../../src/dev-kms/index.ts';
import type { FileSystem } from '../../../src/disk/file-system.ts';
import { sha256 } from '../../../src/disk/files.ts';
import { type KeyName, keyFileName, sidecarFileName } from '../../../src/format/key-file-name.ts';
import { parseSidecar } from '../../../src/format/sidecar.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { checkMasterKeys } from '../../../src/keyring/master-keys.ts';
import { unwrapStoredKey } from '../../../src/keyring/unwrap.ts';
import { KeyDirectory } from '../../../src/keystore/directory.ts';
import { checkBackup } from '../../../src/keystore/verify-backup.ts';
import { KmsCaller } from '../../../src/kms/caller.ts';
import { startDeadline } from '../../../src/kms/retry.ts';
import { EmbeddedClient } from '../../support/embedded-client.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs, systemError } from '../../support/memory-fs.ts';
import { type Rewrap, rewrap } from '../../support/rewrapping.ts';
import { kmsError } from '../../support/scripted-kms.ts';
import { TEST_SETTINGS } from '../../support/settings.ts';
import { type StoredHow, storeKey } from '../../support/stored-keys.ts';

const CONTEXT = { cluster: 'orders' };
/** One stored key of each kind that a directory may hold. */
const KINDS: readonly StoredHow[] = [
  {},
  { configured: CONTEXT },
  { algorithm: 'AES_CTR' },
  { sidecar: 'early' },
  { sidecar: false },
  { sidecar: false, configured: CONTEXT },
];
/** Versions that each take another way of being replaced. */
const WAYS = '1,5-6';

let clock: FakeClock;
let kms: EmbeddedClient;
let fs: MemoryFs;
/** Key check values, by file. */
let truth: Map<string, string>;

beforeEach(() => {
  clock = new FakeClock();
  kms = new EmbeddedClient(clock, ['alias/a', 'alias/b']);
  fs = new MemoryFs();
  truth = new Map();
});

function name(id: number, version = 1): KeyName {
  return { id: keyId(id), version: keyVersion(version) };
}

function store(key: KeyName, how: StoredHow = {}): void {
  truth.set(keyFileName(key), keyCheckValue(storeKey(fs, kms, key, how)));
}

function storeKinds(): void {
  for (const [index, how] of KINDS.entries()) store(name(index + 1), how);
}

function arnOf(alias: string): string {
  return kms.kms.ensureAlias(DEFAULT_REGION, alias);
}

async function move(changes: Partial<Rewrap> = {}) {
  return await rewrap({ fileSystem: fs, kms, clock, ...changes });
}

/** Loads every version as a server would, and compares; returns the master keys that KMS opened them with. */
async function masterKeysOf(fileSystem: FileSystem, directory = '/keys'): Promise<ReadonlySet<string>> {
  const observer = { attemptStarted: () => undefined, attemptEnded: () => undefined };
  const caller = new KmsCaller([kms.client], clock, () => 0.5, observer);
  const deadline = startDeadline(clock, 60_000);
  const keys = new KeyDirectory(directory, fileSystem, clock, Math.random);
  const arns = new Set<string>();
  const loaded = new Map<string, string>();
  for (const key of (await keys.list()).stored) {
    const opened = await unwrapStoredKey(caller, CONTEXT, key, await keys.read(key), deadline);
    loaded.set(keyFileName(key), keyCheckValue(opened.plaintext));
    wipe(opened.plaintext);
    arns.add(opened.masterKeyArn);
  }
  expect(loaded).toEqual(truth);
  deadline.cancel();
  return arns;
}

function copyOf({ files }: MemoryFs): MemoryFs {
  const copy = new MemoryFs();
  for (const [path, { bytes, synced }] of files) copy.files.set(path, { bytes: Buffer.from(bytes), synced });
  return copy;
}

function bytesIn(directory: string): ReadonlyMap<string, string> {
  const files = [...fs.files].filter(([path]) => path.startsWith(`${directory}/`));
  return new Map(files.map(([path, { bytes }]) => [path.slice(directory.length + 1), sha256(bytes)]));
}

describe('moving every kind of key', () => {
  beforeEach(storeKinds);

  it('keeps the data keys under the new master key, and a backup of the old wrapped ones', async () => {
    const before = bytesIn('/keys');
    const { backup = '', ...result } = await move();
    expect(result).toMatchObject({ already: [], problems: [], untried: [], others: [] });
    expect(result.moved).toHaveLength(KINDS.length);
    expect(await masterKeysOf(fs)).toEqual(new Set([arnOf('alias/b')]));
    expect(await masterKeysOf(fs, backup)).toEqual(new Set([arnOf('alias/a')]));
    expect(Object.fromEntries(bytesIn(backup))).toMatchObject(Object.fromEntries(before));
    const checked = await checkBackup(backup, { fileSystem: fs, clock, random: Math.random });
    expect(checked).toMatchObject({ damage: [], unlisted: [], gaps: [] });
    expect([...fs.files.keys()].filter((path) => path.includes('.aws-kms-tmp-'))).toEqual([]);
  });

  it('records the replaced bytes in the sidecar, and adds none to a key whose place is unproven', async () => {
    const before = bytesIn('/keys').get(keyFileName(name(1)));
    await move();
    const text = fs.files.get(`/keys/${sidecarFileName(name(1))}`)?.bytes.toString() ?? '';
    expect(parseSidecar(name(1), text)).toMatchObject({
      masterKeyArn: arnOf('alias/b'),
      requestId: 're-encrypt',
      wrappedSha256: bytesIn('/keys').get(keyFileName(name(1))),
      replaces: { masterKeyArn: arnOf('alias/a'), requestId: 'generate', wrappedSha256: before },
    });
    expect(fs.files.has(`/keys/${sidecarFileName(name(5))}`)).toBe(false);
    expect(fs.files.has(`/keys/${sidecarFileName(name(6))}`)).toBe(true);
  });

  it('finds nothing to do the second time, and makes no backup then', async () => {
    await move();
    const after = bytesIn('/keys');
    expect(await move({ keyIds: '1-4,6' })).toMatchObject({ moved: [], problems: [], backup: undefined });
    // Only KMS can tell the master key of the one without a sidecar.
    expect(await move()).toMatchObject({ moved: [], problems: [], others: [] });
    expect(bytesIn('/keys')).toEqual(after);
  });

  it('calls KMS in a dry run, and replaces nothing', async () => {
    const before = bytesIn('/keys');
    expect(await move({ isDryRun: true })).toMatchObject({ problems: [], backup: undefined });
    expect(bytesIn('/keys')).toEqual(before);
    kms.denied = ['ReEncryptTo'];
    const { problems } = await move({ isDryRun: true });
    expect(problems[0]?.message).toMatch(/^key \d version 1 \(file .*\): KMS ReEncrypt failed: AccessDeniedException/);
  });

  it('moves the selected keys, and reports the others', async () => {
    const { moved, others } = await move({ keyIds: '2,4-5' });
    expect(moved.map(({ id }) => id).sort()).toEqual([2, 4, 5]);
    // The fifth has no sidecar to name its master key; this run knows it from KMS.
    expect(others.map(({ id }) => id)).toEqual([1, 3, 6]);
  });

  it('lets the watch follow the new master key', async () => {
    await move({ keyIds: '1-4,6' });
    const asked: (string | undefined)[] = [];
    const client = kms.client;
    const probe: typeof client.probe = async (request) => {
      asked.push(request.masterKeyArn);
      return { masterKeyArn: '', requestId: '' };
    };
    const observer = { attemptStarted: () => undefined, attemptEnded: () => undefined };
    const clients = [{ ...client, probe }] as const;
    const parts = {
      settings: TEST_SETTINGS,
      store: new KeyDirectory('/keys', fs, clock, Math.random),
      clients,
      kms: new KmsCaller(clients, clock, () => 0.5, observer),
      clock,
    };
    await checkMasterKeys(parts, startDeadline(clock, 60_000));
    expect(new Set(asked)).toEqual(new Set([arnOf('alias/b'), undefined]));
  });

  it('leaves whole keys wherever it is interrupted, by a kill or a power loss, and the next run finishes it', async () => {
    const states: { readonly at: string; readonly left: MemoryFs }[] = [];
    fs.before = (call, path) => {
      const at = `before ${call} ${path}`;
      states.push({ at: `killed ${at}`, left: copyOf(fs) });
      states.push({ at: `power lost ${at}`, left: copyOf(fs.afterPowerLoss()) });
    };
    await move();
    fs.before = () => undefined;
    const seen = new Set<string>();
    for (const { at, left } of states) {
      const state = JSON.stringify([...left.files].map(([path, { bytes }]) => [path, sha256(bytes)]));
      if (seen.has(state)) continue;
      seen.add(state);
      await masterKeysOf(left).catch((error: unknown) => expect.fail(`${at}: ${String(error)}`));
      const result = await clock.runUntil(move({ fileSystem: left }));
      expect(result, at).toMatchObject({ problems: [], untried: [], others: [] });
      expect(await masterKeysOf(left), at).toEqual(new Set([arnOf('alias/b')]));
    }
    // A control: some runs were interrupted.
    expect(seen.size).toBeGreaterThan(50);
  });

  it('leaves whole keys when any call fails', async () => {
    let calls = 0;
    const counting = copyOf(fs);
    counting.before = () => {
      calls += 1;
    };
    await move({ fileSystem: counting, keyIds: WAYS });
    for (let failing = 1; failing <= calls; failing += 1) {
      const left = copyOf(fs);
      let made = 0;
      left.before = () => {
        made += 1;
        if (made === failing) throw systemError('EIO');
      };
      await move({ fileSystem: left, keyIds: WAYS }).catch((error: unknown) =>
        expect(error).toMatchObject({ name: 'KeyError' }),
      );
      left.before = () => undefined;
      await masterKeysOf(left);
      const result = await clock.runUntil(move({ fileSystem: left }));
      expect(result, `call ${failing}`).toMatchObject({ problems: [], others: [] });
    }
    expect(calls).toBeGreaterThan(100);
  });
});

describe('two simultaneous runs', () => {
  beforeEach(() => {
    store(name(1));
    store(name(2));
  });

  it('exclude each other: the second is refused, names the first, and replaces nothing', async () => {
    const arrived = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    kms.on = async (operation) => {
      if (operation !== 'ReEncrypt') return;
      arrived.resolve();
      await answer.promise;
    };
    const first = move();
    await arrived.promise;
    const before = bytesIn('/keys');
    const told: string[] = [];
    const error = await expectKeyError(
      clock.runUntil(move({ tell: (line) => told.push(line) })),
      'KEY_EXISTS',
      'another rewrap of /keys is at work: process 4711 on db1 since 2030-01-01T00:00:00.000Z',
    );
    expect(error.hint).toContain('or at once after: rm /keys/aws-kms-rewrap-lock');
    expect(told).toEqual([]);
    const { 'aws-kms-rewrap-lock': _, ...keys } = Object.fromEntries(before);
    expect(Object.fromEntries(bytesIn('/keys'))).toMatchObject(keys);
    answer.resolve();
    expect(await first).toMatchObject({ moved: [name(1), name(2)], problems: [] });
    expect(await masterKeysOf(fs)).toEqual(new Set([arnOf('alias/b')]));
  });

  it('exclude each other after a kill of the first: the second takes over and finishes', async () => {
    const killed = copyOf(fs);
    fs.before = (call, path) => {
      if (call !== 'rename' || path !== '/keys/aws-kms-key.1.1') return;
      killed.files.clear();
      for (const [file, found] of copyOf(fs).files) killed.files.set(file, found);
    };
    await move();
    expect([...killed.files.keys()]).toContain('/keys/aws-kms-rewrap-lock');
    const told: string[] = [];
    const startedMs = clock.monotonicMs();
    const result = await clock.runUntil(move({ fileSystem: killed, tell: (line) => told.push(line) }));
    expect(result).toMatchObject({ problems: [], others: [] });
    expect(told).toEqual([
      expect.stringMatching(
        /^\/keys\/aws-kms-rewrap-lock is of process 4711 on db1 since .*, who has shown no sign of life for 5 s; taking over after 20 s/,
      ),
    ]);
    expect(clock.monotonicMs() - startedMs).toBeGreaterThanOrEqual(20_000);
    expect([...killed.files.keys()].filter((file) => file.includes('lock'))).toEqual([]);
    expect(await masterKeysOf(killed)).toEqual(new Set([arnOf('alias/b')]));
  });

  it.each<[string, (taken: () => void) => void, readonly string[]]>([
    [
      'sidecar',
      (taken) => {
        kms.on = (operation) => (operation === 'Decrypt' ? taken() : undefined);
      },
      [],
    ],
    [
      'key file',
      (taken) => {
        fs.before = (call, path) => (call === 'rename' && path === '/keys/aws-kms-key.1.1.json' ? taken() : undefined);
      },
      ['aws-kms-key.1.1.json'],
    ],
  ])('do not replace the %s when the first has lost its lock to the second', async (_, at, changed) => {
    const sums = bytesIn('/keys');
    at(() => {
      const bytes = Buffer.from('rewrap by process 9 on db2 since then x\n');
      fs.files.set('/keys/aws-kms-rewrap-lock', { bytes, synced: true });
    });
    const { moved, problems } = await move({ keyIds: '1' });
    expect(moved).toEqual([]);
    expect(problems).toMatchObject([
      {
        code: 'STORE_UNAVAILABLE',
        message:
          'this rewrap does not have aws-kms-rewrap-lock in /keys any more: it is of process 9 on db2 since then',
      },
    ]);
    const after = bytesIn('/keys');
    expect([...sums.keys()].filter((file) => sums.get(file) !== after.get(file))).toEqual(changed);
    expect(after.has('aws-kms-rewrap-lock')).toBe(true);
    await masterKeysOf(fs);
  });

  it('do not exclude each other in a dry run', async () => {
    const bytes = Buffer.from('of another');
    fs.files.set('/keys/aws-kms-rewrap-lock', { bytes, synced: true });
    expect(await move({ isDryRun: true })).toMatchObject({ problems: [] });
    expect(fs.files.get('/keys/aws-kms-rewrap-lock')?.bytes).toEqual(bytes);
  });
});

describe('a version that cannot be moved', () => {
  beforeEach(() => {
    store(name(1));
    store(name(2));
  });

  async function failed(): Promise<{ readonly messages: readonly string[]; readonly hints: readonly string[] }> {
    const before = bytesIn('/keys');
    const { moved, problems } = await move();
    expect(moved).toEqual([]);
    expect(bytesIn('/keys')).toEqual(before);
    await masterKeysOf(fs);
    return { messages: problems.map(({ message }) => message), hints: problems.map(({ hint }) => hint) };
  }

  it.each([
    ['ReEncryptFrom', 'kms:ReEncryptFrom on the old master key', 'alias/a'],
    ['ReEncryptTo', 'kms:ReEncryptTo and kms:Decrypt on the new master key', 'alias/b'],
  ])('names the key on which the permission %s is missing', async (action, hint, alias) => {
    kms.denied = [action];
    const { messages, hints } = await failed();
    expect(messages[0]).toMatch(new RegExp(`^key 1 version 1 \\(file aws-kms-key\\.1\\.1\\): .*kms:${action} on`));
    const end = "for a key of another account, in that key's policy, too";
    expect(hints[0]).toBe(`the identity that runs this needs ${hint} ${arnOf(alias)}; ${end}`);
  });

  it('names both permissions when KMS does not say which is missing', async () => {
    kms.on = (operation) => {
      if (operation === 'ReEncrypt') throw kmsError('AccessDeniedException', 'no');
    };
    expect((await failed()).hints[0]).toMatch(
      /kms:ReEncryptFrom on the old .*, and kms:ReEncryptTo and kms:Decrypt on/,
    );
  });

  it.each([
    ['old', 'alias/a'],
    ['new', 'alias/b'],
  ])('is reported with the %s master key disabled', async (which, alias) => {
    const arn = arnOf(alias);
    kms.on = (operation) => {
      if (operation === 'ReEncrypt') throw kmsError('DisabledException', `${arn} is disabled.`);
    };
    const { messages, hints } = await failed();
    expect(messages[0]).toContain(`KMS ReEncrypt failed: DisabledException: ${arn} is disabled.`);
    expect(hints[0]).toContain(`this is about the ${which} master key ${arn}: `);
  });

  it('stays as it was when KMS answers with the wrapped key of another data key', async () => {
    const other = kms.kms.generateDataKeyWithoutPlaintext({
      region: DEFAULT_REGION,
      keyId: 'alias/b',
      keySpec: 'AES_128',
    });
    kms.reEncrypted = () => Buffer.from(other.ciphertextBlob);
    const { messages } = await failed();
    expect(messages[0]).toContain('the data key is not the one that was made: its key check value differs');
  });

  it('stays as it was when KMS fails to open the new wrapped key', async () => {
    kms.on = (operation) => {
      if (operation === 'Decrypt') throw kmsError('AccessDeniedException', 'no');
    };
    const before = bytesIn('/keys');
    const { problems } = await move();
    expect(problems[0]?.hint).toContain(
      `needs kms:ReEncryptTo and kms:Decrypt on the new master key ${arnOf('alias/b')}`,
    );
    expect(bytesIn('/keys')).toEqual(before);
  });

  it('does not keep the others from being moved', async () => {
    fs.files.set(`/keys/${keyFileName(name(1))}`, { bytes: Buffer.from('damaged'), synced: true });
    fs.files.set(`/keys/${sidecarFileName(name(3))}`, { bytes: Buffer.from('damaged'), synced: true });
    store(name(4));
    fs.files.set(`/keys/${sidecarFileName(name(4))}`, { bytes: Buffer.from('damaged'), synced: true });
    const { moved, problems } = await move();
    expect(moved).toEqual([name(2)]);
    expect(problems.map(({ code, message }) => `${code} ${message}`).sort()).toEqual([
      expect.stringMatching(/^KEY_FILE_CORRUPT key 1 version 1: key file aws-kms-key\.1\.1: its SHA-256 is/),
      'KEY_FILE_CORRUPT sidecar aws-kms-key.4.1.json: it is not JSON',
    ]);
  });

  it('ends the run when KMS is unavailable', async () => {
    for (let id = 3; id <= 40; id += 1) store(name(id));
    kms.on = async () => {
      await clock.advance(60_000);
      throw kmsError('KMSInternalException', '', 500);
    };
    const { problems, untried, others } = await move();
    expect(problems.length + untried.length).toBe(40);
    expect(problems.length).toBeLessThan(20);
    expect(others).toHaveLength(40);
  });

  it('is left to the process that is creating it, while it has no sidecar', async () => {
    store(name(7), { sidecar: false });
    fs.files.set('/keys/.aws-kms-tmp-x.json', { bytes: Buffer.from('{}'), synced: true });
    const { moved, problems } = await move();
    expect(moved).toHaveLength(2);
    expect(problems).toMatchObject([
      {
        code: 'KEY_EXISTS',
        message: 'key 7 version 1: it has no sidecar, and a server is storing keys, or was killed while it did',
      },
    ]);
  });

  it('is not replaced when another run moves it meanwhile', async () => {
    kms.on = (operation) => {
      if (operation === 'Decrypt') store(name(1));
    };
    const { moved, problems } = await move({ keyIds: '1' });
    expect(moved).toEqual([]);
    expect(problems).toMatchObject([{ message: expect.stringContaining('aws-kms-key.1.1 is another than') }]);
    kms.on = () => undefined;
    await masterKeysOf(fs);
  });

  it('is not replaced when it differs from the backed-up one', async () => {
    fs.before = (call, path) => {
      if (call === 'rename' && path.startsWith('/backup')) store(name(1));
    };
    const { moved, problems } = await move({ keyIds: '1' });
    expect(moved).toEqual([]);
    expect(problems).toMatchObject([
      { message: 'key 1 version 1: aws-kms-key.1.1 is another than was backed up a moment ago' },
    ]);
    await masterKeysOf(fs);
  });
});
