import { beforeEach, describe, expect, it } from 'vitest';
import { keyCheckValue } from '../../../src/bytes.ts';
import { type ErrorCode, KeyError } from '../../../src/errors.ts';
import type { KeyName } from '../../../src/format/key-file-name.ts';
import { keyFileName } from '../../../src/format/key-file-name.ts';
import { type KeyId, keyId, keyVersion, parseKeyIdSet } from '../../../src/ids.ts';
import { Keyring } from '../../../src/keyring/keyring.ts';
import { retryMissingKeys } from '../../../src/keyring/missing.ts';
import type { Settings } from '../../../src/keyring/settings.ts';
import { KeyDirectory } from '../../../src/keystore/directory.ts';
import { KmsCaller } from '../../../src/kms/caller.ts';
import { startDeadline } from '../../../src/kms/retry.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs, systemError } from '../../support/memory-fs.ts';
import { dataKey, kmsError, MASTER_KEY_ARN, ScriptedKms, wrappedKey } from '../../support/scripted-kms.ts';
import { TEST_SETTINGS } from '../../support/settings.ts';

const one = keyId(1);
let clock: FakeClock;
let kms: ScriptedKms;
let fs: MemoryFs;

beforeEach(() => {
  clock = new FakeClock();
  kms = new ScriptedKms();
  fs = new MemoryFs();
});

/** A process on the shared directory. */
class Process {
  readonly announced: {
    readonly name: string;
    readonly current: boolean;
    readonly algorithm: string;
    readonly bytes: Buffer;
  }[] = [];
  readonly logged: string[] = [];
  readonly counted: string[] = [];
  readonly handedOver: Uint8Array[] = [];
  settings: Settings;
  readonly keyring: Keyring;

  constructor(changes: Partial<Settings> = {}, role: 'server' | 'backup' = 'server', held = 0) {
    this.settings = { ...TEST_SETTINGS, ...changes };
    this.keyring = new Keyring({
      role,
      unnamedHeld: held,
      settings: () => this.settings,
      store: new KeyDirectory('/keys', fs, clock, Math.random),
      kms: new KmsCaller([kms], clock, () => 0.5, { attemptStarted: () => undefined, attemptEnded: () => undefined }),
      clock,
      events: {
        announce: ({ id, version }, current, algorithm, bytes) => {
          this.announced.push({ name: `${id}.${version}`, current, algorithm, bytes: Buffer.from(bytes) });
          this.handedOver.push(bytes);
        },
        log: (severity, text) => this.logged.push(`${severity}: ${text}`),
        count: (counter) => this.counted.push(counter),
      },
    });
  }

  async run<T>(
    action: (keyring: Keyring, deadline: ReturnType<typeof startDeadline>) => Promise<T>,
    seconds = 60,
  ): Promise<T> {
    const deadline = startDeadline(clock, seconds * 1000);
    return await clock.runUntil(action(this.keyring, deadline).finally(() => deadline.cancel()));
  }

  /** Ids that it was asked about. */
  readonly questions: KeyId[] = [];

  open(id: KeyId, mayCreate = true): Promise<number | undefined> {
    const answer = async (): Promise<boolean> => {
      this.questions.push(id);
      return mayCreate;
    };
    return this.run((keyring, deadline) => keyring.open(id, answer, deadline));
  }

  load(): ReturnType<Keyring['loadAll']> {
    return this.run((keyring, deadline) => keyring.loadAll(deadline));
  }

  fetch(key: KeyName): Promise<void> {
    return this.run((keyring, deadline) => keyring.fetch(key, deadline));
  }

  rotate(id: KeyId): Promise<number> {
    return this.run((keyring, deadline) => keyring.rotate(id, deadline));
  }

  get names(): string[] {
    return this.announced.map(({ name }) => name);
  }
}

function name(id: number, version: number): KeyName {
  return { id: keyId(id), version: keyVersion(version) };
}

function store(id: number, version: number, wrapped = wrappedKey(`${id}.${version}`)): Buffer {
  fs.files.set(`/keys/${keyFileName(name(id, version))}`, { bytes: wrapped, synced: true });
  return wrapped;
}

function files(): string[] {
  return [...fs.files.keys()].map((file) => file.replace('/keys/', '')).sort();
}

describe('loading the keys', () => {
  it('unwraps every version, the latest of each key first, and wipes what it delivered', async () => {
    for (const [id, version] of [
      [1, 1],
      [1, 2],
      [1, 3],
      [2, 1],
      [2, 2],
    ] as const)
      store(id, version);
    const process = new Process();
    const result = await process.run((keyring, deadline) => keyring.loadAll(deadline));
    expect(result).toEqual({ keys: 2, versions: 5, failures: [] });
    expect(process.names.slice(0, 2)).toEqual(['1.3', '2.2']);
    expect([...process.names].sort()).toEqual(['1.1', '1.2', '1.3', '2.1', '2.2']);
    expect(process.announced.every(({ current }) => current)).toBe(true);
    expect(process.announced[0]?.bytes).toEqual(dataKey(wrappedKey('1.3')));
    expect(process.handedOver.every((bytes) => bytes.every((byte) => byte === 0))).toBe(true);
    expect(process.logged).toContain('note: loaded key 1, version 3, key length 128 bit');
  });

  it('warns once of versions that are gone from between, and loads the others', async () => {
    store(31, 1);
    store(31, 3);
    store(40, 4_294_967_294);
    fs.files.set('/keys/aws-kms-key.50.1.json', { bytes: Buffer.from('{}'), synced: true });
    store(50, 2);
    const process = new Process();
    expect((await process.load()).versions).toBe(4);
    const warnings = process.logged.filter((line) => line.startsWith('warning: nothing is in'));
    expect(warnings).toEqual([
      'warning: nothing is in /keys of older key versions: key 31 version 2 (file aws-kms-key.31.2), key 40 versions 1 to 4294967293 (files aws-kms-key.40.1 to aws-kms-key.40.4294967293); data under them cannot be read: restore the files from a backup of the key directory, then restart the server',
    ]);
    // The versions that the server has now are not its gaps.
    await process.load();
    expect(process.logged.filter((line) => line.startsWith('warning: nothing is in'))).toHaveLength(1);
  });

  it('names ten gaps, and counts the others', async () => {
    for (let version = 2; version <= 24; version += 2) store(7, version);
    const process = new Process();
    await process.load();
    expect(process.logged.find((line) => line.includes('nothing is in'))).toMatch(
      /key 7 version 19 \(file aws-kms-key\.7\.19\), and 2 more gaps; data/,
    );
  });

  it('has at most 128 calls in flight', async () => {
    for (let version = 1; version <= 400; version += 1) store(1, version);
    kms.on = () => clock.sleep(20);
    await new Process().run((keyring, deadline) => keyring.loadAll(deadline));
    expect(kms.calls).toHaveLength(400);
    expect(kms.mostInFlight).toBe(128);
    // The calls come in rounds of 4, 8, 16, 32, 64, 128, 128 and the rest.
    expect(clock.monotonicMs()).toBe(160);
  });

  it('retries transient failures, and names each version that stays wrapped', async () => {
    store(1, 1);
    store(1, 2);
    store(2, 1);
    kms.on = (_, call, request) => {
      const text = 'wrapped' in request ? Buffer.from(request.wrapped).toString() : '';
      if (text.endsWith('1.1') && call < 5) throw kmsError('ThrottlingException');
      if (text.endsWith('2.1')) throw kmsError('AccessDeniedException', 'not authorized');
    };
    const process = new Process();
    const { failures } = await process.run((keyring, deadline) => keyring.loadAll(deadline));
    expect([...process.names].sort()).toEqual(['1.1', '1.2']);
    expect(failures.map(({ error }) => error.message)).toEqual([
      'key 2 version 1 (file aws-kms-key.2.1): KMS Decrypt failed: AccessDeniedException: not authorized (request request-of-AccessDeniedException)',
    ]);
  });

  it('fails when the directory cannot be listed, and creates nothing', async () => {
    fs.before = (call) => {
      if (call === 'readdir') throw systemError('EACCES');
    };
    const process = new Process();
    await expectKeyError(
      process.run((keyring, deadline) => keyring.loadAll(deadline)),
      'STORE_UNAVAILABLE',
      /^cannot list/,
    );
    await expectKeyError(process.open(one), 'STORE_UNAVAILABLE', /^cannot list/);
    expect(kms.calls).toEqual([]);
  });

  it('counts a version of which only the sidecar is left as missing', async () => {
    store(1, 1);
    fs.files.set('/keys/aws-kms-key.1.2.json', { bytes: Buffer.from('{}'), synced: true });
    const { failures } = await new Process().run((keyring, deadline) => keyring.loadAll(deadline));
    expect(failures.map(({ error }) => [error.code, error.message])).toEqual([
      ['KEY_FILE_MISSING', 'key 1 version 2: its sidecar is in /keys, its key file aws-kms-key.1.2 is gone'],
    ]);
  });

  it('warns of names that are nearly key files, and of damaged sidecars', async () => {
    store(1, 1);
    fs.files.set('/keys/aws-kms-key.01.1', { bytes: Buffer.from('x'), synced: true });
    fs.files.set('/keys/aws-kms-key.1.1.json', { bytes: Buffer.from('{'), synced: true });
    const process = new Process();
    await process.run((keyring, deadline) => keyring.loadAll(deadline));
    expect(process.logged).toContain('warning: ignored aws-kms-key.01.1 in /keys: not the name of a key file');
    expect(
      process.logged.find((line) => line.startsWith('warning: sidecar aws-kms-key.1.1.json: it is not JSON')),
    ).toBeDefined();
    expect(process.names).toEqual(['1.1']);
  });

  it('pins the master key of the sidecar', async () => {
    const process = new Process();
    await process.open(one);
    kms.calls.length = 0;
    kms.answer = (answer) => ({ ...answer, masterKeyArn: 'arn:aws:kms:us-east-1:1:key/other' });
    const { failures } = await new Process().run((keyring, deadline) => keyring.loadAll(deadline));
    expect(kms.calls[0]?.request).toMatchObject({ masterKeyArn: MASTER_KEY_ARN });
    expect(failures[0]?.error.message).toMatch(
      /"KeyId" expected arn:.*1234567890ab, got arn:aws:kms:us-east-1:1:key\/other \(request decrypt\)$/,
    );
  });
});

describe('opening a key id', () => {
  it('creates version 1 durably before it announces it', async () => {
    const process = new Process();
    expect(await process.open(one)).toBe(1);
    expect(kms.calls.map(({ operation }) => operation)).toEqual(['GenerateDataKeyWithoutPlaintext', 'Decrypt']);
    expect(files()).toEqual(['aws-kms-key.1.1', 'aws-kms-key.1.1.json']);
    expect(fs.afterPowerLoss().files.get('/keys/aws-kms-key.1.1')?.bytes).toEqual(wrappedKey('made 1'));
    const bytes = dataKey(wrappedKey('made 1'));
    expect(process.announced).toEqual([{ name: '1.1', current: true, algorithm: 'AES_CBC', bytes }]);
    expect(process.logged).toEqual([
      'note: generated encrypted datakey for key id=1, version=1',
      'note: loaded key 1, version 1, key length 128 bit',
    ]);
    expect(process.counted).toContain('keysCreated');
  });

  it('creates the key once for many concurrent requests', async () => {
    const process = new Process();
    const all = Promise.all(
      Array.from({ length: 10 }, () => process.keyring.open(one, true, startDeadline(clock, 60_000))),
    );
    expect(await clock.runUntil(all)).toEqual(Array.from({ length: 10 }, () => 1));
    expect(kms.calls.map(({ operation }) => operation)).toEqual(['GenerateDataKeyWithoutPlaintext', 'Decrypt']);
    expect(files()).toEqual(['aws-kms-key.1.1', 'aws-kms-key.1.1.json']);
  });

  it('loads a key that another process created meanwhile', async () => {
    store(1, 1);
    store(1, 2);
    const process = new Process();
    expect(await process.open(one)).toBe(2);
    expect(process.names).toEqual(['1.2', '1.1']);
    expect(kms.calls.every(({ operation }) => operation === 'Decrypt')).toBe(true);
  });

  it('uses the key of a process that was a moment faster', async () => {
    fs.before = (call) => {
      if (call === 'link') store(1, 1, wrappedKey('theirs'));
    };
    const process = new Process();
    expect(await process.open(one)).toBe(1);
    expect(process.announced.map(({ bytes }) => bytes)).toEqual([dataKey(wrappedKey('theirs'))]);
    expect(files()).toEqual(['aws-kms-key.1.1']);
  });

  it('says of a version that data asks for and whose file is gone: never drop the table', async () => {
    const asked = { id: one, version: keyVersion(2) };
    const gone = (role: 'server' | 'backup') =>
      expectKeyError(
        new Process({}, role).fetch(asked),
        'KEY_UNKNOWN',
        'key 1 version 2: there is no file aws-kms-key.1.2 in /keys',
      );
    expect((await gone('server')).hint).toBe(
      'restore the file from a backup of the key directory; never drop the table; restart the server when the file is back',
    );
    expect((await gone('backup')).hint).toBe('restore the file from a backup of the key directory');
  });

  it('never creates a key when a stored one cannot be unwrapped or read, or is lost', async () => {
    store(1, 1, Buffer.alloc(0));
    store(2, 1);
    fs.files.set('/keys/aws-kms-key.3.1.json', { bytes: Buffer.from('{}'), synced: true });
    kms.on = () => {
      throw kmsError('InvalidCiphertextException', '');
    };
    const process = new Process();
    await expectKeyError(process.open(one), 'KEY_FILE_CORRUPT', /expected 1 to 6144 bytes, got 0$/);
    await expectKeyError(
      process.open(keyId(2)),
      'KMS_CORRUPT',
      /^key 2 version 1 \(file aws-kms-key.2.1\): KMS Decrypt failed: InvalidCiphertextException/,
    );
    await expectKeyError(process.open(keyId(3)), 'KEY_FILE_MISSING', /its key file aws-kms-key.3.1 is gone$/);
    expect(kms.calls.every(({ operation }) => operation === 'Decrypt')).toBe(true);
    expect(process.announced).toEqual([]);
  });

  it('does not deliver an older version as the latest', async () => {
    store(1, 1);
    store(1, 2);
    kms.on = (_, __, request) => {
      if ('wrapped' in request && Buffer.from(request.wrapped).toString().endsWith('1.2'))
        throw kmsError('AccessDeniedException');
    };
    const process = new Process();
    await expectKeyError(process.open(one), 'KMS_OPERATOR', /^key 1 version 2/);
    expect(process.announced).toEqual([]);
  });

  it.each<[string, Partial<Settings>, 'server' | 'backup', string]>([
    [
      'without a master key',
      { masterKeyId: '' },
      'server',
      'key 9 cannot be created: aws_key_management_master_key_id is empty',
    ],
    [
      'outside the allowed ids',
      { keyIds: parseKeyIdSet('1-8') },
      'server',
      'key 9 is not among the key ids that aws_key_management_key_ids allows',
    ],
    ['in a backup', {}, 'backup', 'key 9 is not in /keys, and a backup never creates keys'],
  ])('creates nothing %s', async (_, changes, role, message) => {
    const process = new Process(changes, role);
    const error = await expectKeyError(process.open(keyId(9)), 'KEY_NOT_ALLOWED', message);
    // The data has not been searched before these refusals.
    expect(error.hint).toContain(role === 'backup' ? 'key files that belong to this data' : 'restore aws-kms-key.9.*');
    expect(kms.calls).toEqual([]);
    expect(files()).toEqual([]);
  });

  it('still loads existing keys without a master key and outside the allowed ids', async () => {
    store(9, 1);
    expect(await new Process({ masterKeyId: '', keyIds: parseKeyIdSet('1') }).open(keyId(9))).toBe(1);
  });

  it.each(['GenerateDataKeyWithoutPlaintext', 'Decrypt'] as const)(
    'leaves nothing behind when %s fails, and works the next time',
    async (operation) => {
      let fail = true;
      kms.on = (called) => {
        if (fail && called === operation) throw kmsError('AccessDeniedException');
      };
      const process = new Process();
      await expectKeyError(process.open(one), 'KMS_OPERATOR', new RegExp(`^key 1 version 1.*KMS ${operation} failed`));
      expect(files()).toEqual([]);
      expect(process.announced).toEqual([]);
      fail = false;
      expect(await process.open(one)).toBe(1);
    },
  );
});

describe('a key that existing data uses', () => {
  it('is not created again', async () => {
    const process = new Process();
    expect(await process.open(one, false)).toBeUndefined();
    expect(process.questions).toEqual([one]);
    expect(kms.calls).toEqual([]);
    expect(files()).toEqual([]);
    // The next answer may be that no data is under it.
    expect(await process.open(one)).toBe(1);
    expect(process.questions).toEqual([one, one]);
  });

  it('is KEY_OF_DATA for a server that cannot be asked', async () => {
    const process = new Process();
    const message =
      /^key 1 is not among the key files in \/keys, and a file in the data directory is encrypted with it, or cannot be looked at: no new key is made/;
    const opening = process.run((keyring, deadline) => keyring.open(one, false, deadline));
    await expectKeyError(opening, 'KEY_OF_DATA', message);
    expect(files()).toEqual([]);
  });

  it('is opened when another process has made it during the look, whatever the look found', async () => {
    for (const [index, isNew] of [true, false].entries()) {
      const id = keyId(index + 1);
      const process = new Process();
      const answer = async (): Promise<boolean> => {
        store(id, 1);
        return isNew;
      };
      expect(await process.run((keyring, deadline) => keyring.open(id, answer, deadline))).toBe(1);
    }
    expect(kms.calls.map(({ operation }) => operation)).toEqual(['Decrypt', 'Decrypt']);
  });

  it('holds up no other operation on its id during the look', async () => {
    const process = new Process();
    await process.run(async (keyring, deadline) => {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const opening = keyring.open(one, () => promise, deadline);
      await expectKeyError(keyring.rotate(one, deadline), 'KEY_UNKNOWN', /^key 1 does not exist/);
      resolve(true);
      expect(await opening).toBe(1);
    });
  });

  it('fails as the question fails, and creates nothing', async () => {
    const process = new Process();
    const answer = (): Promise<boolean> => Promise.reject(new KeyError('TIMEOUT', 'no answer'));
    await expectKeyError(
      process.run((keyring, deadline) => keyring.open(one, answer, deadline)),
      'TIMEOUT',
      'no answer',
    );
    expect(files()).toEqual([]);
  });

  it.each<[string, Partial<Settings>, 'server' | 'backup', number, ErrorCode, RegExp]>([
    ['a lost key file', {}, 'server', 0, 'KEY_FILE_MISSING', /its key file aws-kms-key.3.1 is gone$/],
    [
      'the allowed ids',
      { keyIds: parseKeyIdSet('1') },
      'server',
      0,
      'KEY_NOT_ALLOWED',
      /^key 9 is not among the key ids/,
    ],
    ['fewer key files than are known', {}, 'server', 2, 'STORE_UNAVAILABLE', /: nothing is created there$/],
    [
      'fewer key files than are known, before the allowed ids',
      { keyIds: parseKeyIdSet('1') },
      'server',
      2,
      'STORE_UNAVAILABLE',
      /: nothing is created there$/,
    ],
    ['a backup', {}, 'backup', 0, 'KEY_NOT_ALLOWED', /a backup never creates keys$/],
    [
      'no master key',
      { masterKeyId: '' },
      'server',
      0,
      'KEY_NOT_ALLOWED',
      /^key 9 cannot be created: .*master_key_id is empty$/,
    ],
  ])('needs no search of the data where %s forbids its creation', async (_, changes, role, held, code, message) => {
    store(1, 1);
    if (code === 'KEY_FILE_MISSING')
      fs.files.set('/keys/aws-kms-key.3.1.json', { bytes: Buffer.from('{}'), synced: true });
    const id = keyId(code === 'KEY_FILE_MISSING' ? 3 : 9);
    const process = new Process(changes, role, held);
    await expectKeyError(process.open(id, false), code, message);
    expect(process.questions).toEqual([]);
    expect(kms.calls).toEqual([]);
  });

  it('is unwrapped once its file is there', async () => {
    store(1, 3);
    const process = new Process();
    expect(await process.open(one, false)).toBe(3);
    expect(process.questions).toEqual([]);
  });
});

describe('a directory that lists fewer versions than the server has', () => {
  const GONE = 'not in /keys any more, and the server has the keys of those files in use: nothing is created there';

  async function expectNothingIsCreated(process: Process, shrunk: string): Promise<void> {
    const calls = kms.calls.length;
    const before = files();
    await expectKeyError(process.open(keyId(2)), 'STORE_UNAVAILABLE', shrunk);
    await expectKeyError(process.rotate(one), 'STORE_UNAVAILABLE', shrunk);
    await expectKeyError(
      process.run((keyring, deadline) => keyring.rotateAll(deadline)),
      'STORE_UNAVAILABLE',
      shrunk,
    );
    expect(kms.calls).toHaveLength(calls);
    expect(files()).toEqual(before);
  }

  it("gets no new key from an agent that knows the server's versions", async () => {
    store(1, 1);
    await expectNothingIsCreated(
      new Process({}, 'server', 2),
      '/keys lists 1 key versions, and 2 are known: nothing is created there',
    );
  });

  it('gets no new key from the agent that has listed more, until they are back', async () => {
    store(1, 1);
    store(1, 2);
    const process = new Process();
    await process.run((keyring, deadline) => keyring.loadAll(deadline));
    const mounted = [...fs.files];
    fs.files.clear();
    await expectNothingIsCreated(process, `aws-kms-key.1.1 and 1 more are ${GONE}`);
    for (const [path, file] of mounted) fs.files.set(path, file);
    expect(await process.open(keyId(2))).toBe(1);
    expect(await process.rotate(one)).toBe(3);
  });

  it('gets no version that the server has, even if it lists as many key files', async () => {
    store(2, 1);
    store(3, 1);
    const process = new Process();
    process.keyring.hold([name(2, 1), name(2, 2)]);
    const gone =
      'aws-kms-key.2.2 is not in /keys any more, and the server has the keys of those files in use: nothing is created there';
    const before = files();
    await expectKeyError(process.rotate(keyId(2)), 'STORE_UNAVAILABLE', gone);
    await expectKeyError(process.open(keyId(4)), 'STORE_UNAVAILABLE', gone);
    await expectKeyError(
      process.run((keyring, deadline) => keyring.rotateAll(deadline)),
      'STORE_UNAVAILABLE',
      gone,
    );
    expect(kms.calls).toEqual([]);
    expect(files()).toEqual(before);
    // Stored keys remain readable, and the log reports the problem.
    await process.run((keyring, deadline) => keyring.loadAll(deadline));
    expect(process.names).toEqual(['2.1', '3.1']);
    expect(process.logged.find((line) => line.startsWith('error: '))).toContain(gone);
    store(2, 2);
    expect(await process.rotate(keyId(2))).toBe(3);
  });

  it('gets no version 1 in place of a lost one that the server has', async () => {
    store(3, 1);
    const process = new Process();
    process.keyring.hold([name(2, 1)]);
    await expectKeyError(process.open(keyId(2)), 'STORE_UNAVAILABLE', /^aws-kms-key\.2\.1 is not in \/keys any more/);
    expect(kms.calls).toEqual([]);
  });

  it('gets no version that the server has, when one created meanwhile has disappeared again', async () => {
    store(2, 1);
    const process = new Process();
    await process.run((keyring, deadline) => keyring.loadAll(deadline));
    fs.before = (call, path) => {
      if (call !== 'link' || !path.endsWith('aws-kms-key.2.2')) return;
      fs.before = () => undefined;
      // Another server stored a version first, and an older state was restored.
      store(2, 2);
      fs.files.delete('/keys/aws-kms-key.2.1');
    };
    await expectKeyError(process.rotate(keyId(2)), 'STORE_UNAVAILABLE', /^aws-kms-key\.2\.1 is not in \/keys any more/);
    expect(files().filter((path) => path.includes('key.2.3'))).toEqual([]);
  });

  it('is not assumed when the newest file is listed before it is announced', async () => {
    const process = new Process();
    await process.open(one);
    const deadline = startDeadline(clock, 60_000);
    let other: Promise<number | undefined> | undefined;
    fs.before = (call) => {
      if (call === 'fsync-directory') other ??= process.keyring.open(keyId(3), true, deadline);
    };
    await process.open(keyId(2));
    fs.before = () => undefined;
    expect(await clock.runUntil(other ?? Promise.reject(new Error('nobody synced')))).toBe(1);
    deadline.cancel();
    expect(await process.open(keyId(4))).toBe(1);
    expect(await process.rotate(one)).toBe(2);
  });

  it('is not assumed for names that were no keys', async () => {
    const process = new Process();
    await process.open(one);
    store(7, 1, Buffer.alloc(0));
    await expectKeyError(process.open(keyId(7)), 'KEY_FILE_CORRUPT', /expected 1 to 6144 bytes, got 0$/);
    fs.files.delete('/keys/aws-kms-key.7.1');
    expect(await process.open(keyId(7))).toBe(1);
  });

  it('gets no new key from the agent that has created more', async () => {
    const process = new Process();
    await process.open(one);
    await process.rotate(one);
    fs.files.clear();
    await expectNothingIsCreated(process, `aws-kms-key.1.1 and 1 more are ${GONE}`);
  });
});

describe('fetching a key version', () => {
  it('announces the version without making it current', async () => {
    store(1, 5);
    const process = new Process();
    await process.run((keyring, deadline) => keyring.fetch(name(1, 5), deadline));
    expect(process.announced).toMatchObject([{ name: '1.5', current: false }]);
  });

  it('fails for a missing version, and creates nothing', async () => {
    await expectKeyError(
      new Process().run((keyring, deadline) => keyring.fetch(name(1, 5), deadline)),
      'KEY_UNKNOWN',
      'key 1 version 5: there is no file aws-kms-key.1.5 in /keys',
    );
    expect(kms.calls).toEqual([]);
  });
});

describe('rotating a key', () => {
  it('creates the next version and announces only that', async () => {
    store(1, 1);
    store(1, 9);
    store(1, 10);
    const process = new Process({ keySpec: 'AES_256' });
    expect(await process.rotate(one)).toBe(11);
    expect(process.names).toEqual(['1.11']);
    expect(process.announced[0]?.bytes).toHaveLength(32);
    expect(process.counted).toEqual(['keysCreated', 'rotations']);
  });

  it('never uses the number of a lost version again', async () => {
    store(1, 1);
    fs.files.set('/keys/aws-kms-key.1.4.json', { bytes: Buffer.from('{}'), synced: true });
    expect(await new Process().rotate(one)).toBe(5);
  });

  it('is allowed for an existing key outside the ids that may be created', async () => {
    store(9, 1);
    expect(await new Process({ keyIds: parseKeyIdSet('1') }).rotate(keyId(9))).toBe(2);
  });

  it('fails for an unknown key, and creates nothing', async () => {
    const error = await expectKeyError(new Process().rotate(keyId(9)), 'KEY_UNKNOWN', 'key 9 does not exist');
    expect(error.hint).toContain('ENCRYPTION_KEY_ID=9');
    expect(kms.calls).toEqual([]);
  });

  it('ends at the last version', async () => {
    store(1, 4_294_967_294);
    await expectKeyError(
      new Process().rotate(one),
      'KEY_VERSIONS_EXHAUSTED',
      'key 1 is at its last version, 4294967294',
    );
  });

  it('with a failing Decrypt changes neither the latest version nor the next start', async () => {
    store(1, 1);
    kms.on = (operation) => {
      if (operation === 'Decrypt') throw kmsError('DisabledException');
    };
    const process = new Process();
    await expectKeyError(
      process.rotate(one),
      'KMS_OPERATOR',
      /^key 1 version 2: KMS Decrypt failed: DisabledException/,
    );
    expect(process.announced).toEqual([]);
    expect(files()).toEqual(['aws-kms-key.1.1']);
  });

  it('in two processes at once never loses a version', async () => {
    store(1, 1);
    const processes = [new Process(), new Process(), new Process()];
    kms.on = () => clock.sleep(Math.ceil(kms.calls.length % 3));
    const rounds = processes.flatMap((process) =>
      Array.from({ length: 4 }, () => process.keyring.rotate(one, startDeadline(clock, 600_000))),
    );
    const versions = await clock.runUntil(Promise.all(rounds));
    expect([...versions].sort((a, b) => a - b)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    for (const process of processes) {
      for (const { name: announced, bytes } of process.announced) {
        expect(bytes).toEqual(dataKey(fs.files.get(`/keys/aws-kms-key.${announced}`)?.bytes ?? Buffer.alloc(0)));
      }
    }
  });

  it('tries every key for a rotation of all, and reports each failure', async () => {
    for (const id of [1, 2, 3, 4]) store(id, 1);
    kms.on = (operation, _, request) => {
      if (
        operation === 'Decrypt' &&
        'wrapped' in request &&
        /made [23]$/.test(Buffer.from(request.wrapped).toString())
      ) {
        throw kmsError('AccessDeniedException', 'no');
      }
    };
    const process = new Process();
    const error = await expectKeyError(
      process.run((keyring, deadline) => keyring.rotateAll(deadline)),
      'KEYS_FAILED',
      /^rotated 2 of 4 keys; key [23] version 2: KMS Decrypt failed: AccessDeniedException: no.*; not rotated: [23], [23]$/,
    );
    expect(error.hint).toContain('kms:Decrypt');
    expect([...process.names].sort()).toEqual(['1.2', '4.2']);
    expect(process.logged.filter((line) => line.startsWith('error: '))).toEqual([
      expect.stringMatching(/^error: keys 2-3 version 2: KMS Decrypt failed: AccessDeniedException: no/),
    ]);
  });

  it('returns the number of keys for a rotation of all', async () => {
    store(1, 1);
    store(7, 3);
    expect(await new Process().run((keyring, deadline) => keyring.rotateAll(deadline))).toBe(2);
    expect(files()).toEqual(expect.arrayContaining(['aws-kms-key.1.2', 'aws-kms-key.7.4']));
  });
});

describe('rotating very many keys', () => {
  beforeEach(() => {
    for (let id = 1; id <= 3000; id += 1) store(id, 1);
  });

  it('lists the directory once', async () => {
    let listed = 0;
    fs.before = (call) => {
      if (call === 'readdir') listed += 1;
    };
    expect(await new Process().run((keyring, deadline) => keyring.rotateAll(deadline))).toBe(3000);
    expect(listed).toBe(1);
  });

  it('ends at the deadline and reports the rotated keys, the cause before the list', async () => {
    kms.on = () => clock.sleep(200);
    const process = new Process();
    const error = await expectKeyError(
      process.run((keyring, deadline) => keyring.rotateAll(deadline), 2),
      'KEYS_FAILED',
      /^rotated \d+ of 3000 keys; key \d+.*; not rotated: (?:\d+, ){9}\d+ and \d+ more$/,
    );
    expect(error.message.length).toBeLessThan(480);
    expect(clock.monotonicMs()).toBeLessThan(3000);
    const rotated = Number(/rotated (\d+)/.exec(error.message)?.[1]);
    expect(process.names).toHaveLength(rotated);
    const causes = process.logged.filter((line) => line.startsWith('error: '));
    expect(causes.length).toBeLessThan(5);
    expect(causes).toContainEqual(
      expect.stringMatching(/^error: keys \d+-3000 was not rotated: the time allowed .*_rotate_key=ID$/),
    );
  });
});

describe('a directory whose names are not durable', () => {
  it('is synced before a key found there is announced', async () => {
    let failing = true;
    fs.before = (call) => {
      if (call === 'fsync-directory' && failing) throw systemError('EIO');
    };
    const process = new Process();
    await expectKeyError(process.open(one), 'STORE_UNAVAILABLE', 'cannot sync the key directory /keys: EIO: injected');
    // The key file exists now, but may not survive a power loss.
    expect(files()).toEqual(['aws-kms-key.1.1']);
    await expectKeyError(process.open(one), 'STORE_UNAVAILABLE', 'cannot sync the key directory /keys: EIO: injected');
    expect(process.announced).toEqual([]);
    failing = false;
    expect(await process.open(one)).toBe(1);
    expect([...fs.afterPowerLoss().files.keys()]).toEqual(['/keys/aws-kms-key.1.1']);
  });

  it('is synced before the key of a process that was faster is announced', async () => {
    fs.before = (call) => {
      if (call === 'link') store(1, 1, wrappedKey('theirs'));
    };
    await new Process().open(one);
    expect([...fs.afterPowerLoss().files.keys()]).toContain('/keys/aws-kms-key.1.1');
  });

  it('is synced when a server starts, and a failure is logged', async () => {
    store(1, 1);
    await new Process().run((keyring, deadline) => keyring.loadAll(deadline));
    expect([...fs.afterPowerLoss().files.keys()]).toContain('/keys/aws-kms-key.1.1');
    fs.before = (call) => {
      if (call === 'fsync-directory') throw systemError('EIO');
    };
    const process = new Process();
    const { failures } = await process.run((keyring, deadline) => keyring.loadAll(deadline));
    expect(failures).toEqual([]);
    expect(process.logged.some((line) => line.startsWith('warning: cannot sync the key directory /keys: EIO'))).toBe(
      true,
    );
  });
});

it('a starting server removes old temporary files, a backup does not', async () => {
  fs.files.set('/keys/.aws-kms-tmp-old', { bytes: Buffer.from('x'), synced: true });
  await new Process({}, 'backup').run((keyring, deadline) => keyring.loadAll(deadline));
  expect(files()).toEqual(['.aws-kms-tmp-old']);
  await new Process().run((keyring, deadline) => keyring.loadAll(deadline));
  expect(files()).toEqual([]);
});

describe('a keyring with an encryption context', () => {
  const context = { encryptionContext: { cluster: 'orders' } };
  const bound = { cluster: 'orders', 'mariadb-aws-kms:key-id': '1', 'mariadb-aws-kms:key-version': '1' };

  it('binds new keys to the context and to their id and version, and records that in the sidecar', async () => {
    await new Process(context).open(one);
    expect(kms.calls.map(({ request }) => request.encryptionContext)).toEqual([bound, bound]);
    const sidecar: unknown = JSON.parse(fs.files.get('/keys/aws-kms-key.1.1.json')?.bytes.toString() ?? '');
    expect(sidecar).toMatchObject({
      encryptionContext: bound,
      keyCheckValue: keyCheckValue(dataKey(wrappedKey('made 1'))),
    });
    await new Process(context).rotate(one);
    expect(kms.calls.at(-1)?.request.encryptionContext).toEqual({ ...bound, 'mariadb-aws-kms:key-version': '2' });
  });

  it('loads keys made with another context, or with none', async () => {
    await new Process(context).open(one);
    await new Process({}).rotate(one);
    kms.calls.length = 0;
    const changed = new Process({ encryptionContext: { cluster: 'renamed' } });
    expect((await changed.run((keyring, deadline) => keyring.loadAll(deadline))).failures).toEqual([]);
    expect(kms.calls.map(({ request }) => request.encryptionContext)).toEqual([{}, bound]);
  });

  it('tries the configured context, then none, for a key without a sidecar', async () => {
    store(1, 1);
    kms.on = (_, __, request) => {
      if (Object.keys(request.encryptionContext).length > 0) throw kmsError('InvalidCiphertextException', '');
    };
    const process = new Process(context);
    expect(await process.open(one)).toBe(1);
    expect(kms.calls.map(({ request }) => request.encryptionContext)).toEqual([bound, {}]);
  });

  it('restores a sidecar lost in a crash, and only for a key that KMS proves to be in its place', async () => {
    await new Process(context).open(one);
    const path = '/keys/aws-kms-key.1.1.json';
    const before: unknown = JSON.parse(fs.files.get(path)?.bytes.toString() ?? '');
    fs.files.delete(path);
    await new Process(context, 'backup').open(one);
    expect(fs.files.has(path)).toBe(false);
    await new Process({}).open(one);
    expect(fs.files.has(path)).toBe(false);
    const process = new Process(context);
    await process.open(one);
    const after: unknown = JSON.parse(fs.files.get(path)?.bytes.toString() ?? '');
    expect(after).toEqual(Object.assign({}, before, { created: '1970-01-01T00:00:00.000Z', requestId: '' }));
    expect(process.logged).toContain('note: key 1 version 1: its sidecar was missing, and was written anew');
    expect(files().filter((file) => file.startsWith('.'))).toEqual([]);
  });

  it('loads a key whose sidecar cannot be restored', async () => {
    await new Process(context).open(one);
    fs.files.delete('/keys/aws-kms-key.1.1.json');
    fs.before = (call) => {
      if (call === 'write') throw systemError('EROFS');
    };
    const process = new Process(context);
    expect(await process.open(one)).toBe(1);
    expect(process.logged.filter((line) => line.startsWith('warning: '))).toEqual([expect.stringContaining('EROFS')]);
  });

  it('names the possible causes when neither context opens the key', async () => {
    store(1, 1);
    kms.on = () => {
      throw kmsError('InvalidCiphertextException', '');
    };
    const error = await expectKeyError(
      new Process(context).open(one),
      'KMS_CORRUPT',
      /InvalidCiphertextException.*, neither with aws_key_management_encryption_context nor without$/,
    );
    expect(error.hint).toContain('what it was when the key was made');
  });

  it('does not try the empty context when KMS refuses for another reason', async () => {
    store(1, 1);
    kms.on = () => {
      throw kmsError('AccessDeniedException');
    };
    await expectKeyError(new Process(context).open(one), 'KMS_OPERATOR', /AccessDeniedException/);
    expect(kms.calls).toHaveLength(1);
  });
});

describe('the encryption algorithm of a key version', () => {
  const ctr = { encryptionAlgorithm: 'AES_CTR' } as const;
  const place = {
    'mariadb-aws-kms:key-id': '1',
    'mariadb-aws-kms:key-version': '1',
    'mariadb-aws-kms:encryption-algorithm': 'AES_CTR',
  };
  const path = '/keys/aws-kms-key.1.1.json';

  /** Makes KMS open a key only with the context that it was made with. */
  function bindStrictly(): void {
    const bound: Record<string, string>[] = [];
    kms.on = (operation, _, request) => {
      if (operation !== 'Decrypt') {
        bound.push({ ...request.encryptionContext });
        return;
      }
      const made = 'wrapped' in request ? Number(/made (\d+)$/.exec(Buffer.from(request.wrapped).toString())?.[1]) : 0;
      const expected = JSON.stringify(bound[made - 1] ?? {});
      if (JSON.stringify(request.encryptionContext) !== expected) throw kmsError('InvalidCiphertextException', '');
    };
  }

  it('is the setting at its creation, and never changes', async () => {
    bindStrictly();
    const process = new Process();
    await process.open(one);
    process.settings = { ...process.settings, encryptionAlgorithm: 'AES_CTR' };
    await process.rotate(one);
    process.settings = { ...process.settings, encryptionAlgorithm: 'AES_CBC' };
    await process.rotate(one);
    expect(process.announced.map(({ algorithm }) => algorithm)).toEqual(['AES_CBC', 'AES_CTR', 'AES_CBC']);
    const later = new Process(ctr);
    expect((await later.run((keyring, deadline) => keyring.loadAll(deadline))).failures).toEqual([]);
    const loaded = new Map(later.announced.map(({ name: key, algorithm }) => [key, algorithm]));
    expect(Object.fromEntries(loaded)).toEqual({ 1.1: 'AES_CBC', 1.2: 'AES_CTR', 1.3: 'AES_CBC' });
    expect(later.logged).toContain('note: loaded key 1, version 2, key length 128 bit, AES_CTR');
    expect(later.logged).toContain('note: loaded key 1, version 3, key length 128 bit');
  });

  it('is bound to the key for AES_CTR even without a configured context, and recorded in the sidecar', async () => {
    await new Process(ctr).open(one);
    expect(kms.calls.map(({ request }) => request.encryptionContext)).toEqual([place, place]);
    const sidecar: unknown = JSON.parse(fs.files.get(path)?.bytes.toString() ?? '');
    expect(sidecar).toMatchObject({ encryptionAlgorithm: 'AES_CTR', encryptionContext: place });
  });

  it('causes warnings about the C++ plugin and about key 1, each once', async () => {
    const process = new Process(ctr);
    await process.open(keyId(3));
    await process.open(one);
    await process.rotate(one);
    expect(process.logged.filter((line) => line.startsWith('warning: '))).toEqual([
      expect.stringMatching(
        /^warning: key 3 version 1 encrypts with AES_CTR: the C\+\+ plugin can read neither it nor data/,
      ),
      expect.stringMatching(
        /^warning: key 1 version 1 encrypts with AES_CTR: redo log, binary logs and temporary tables use this key/,
      ),
    ]);
  });

  it.each([
    ['none configured', {}],
    ['one configured', { encryptionContext: { cluster: 'orders' } }],
  ])('survives the loss of the sidecar, which is restored: %s', async (_, configured) => {
    bindStrictly();
    await new Process({ ...ctr, ...configured }).open(one);
    const before: unknown = JSON.parse(fs.files.get(path)?.bytes.toString() ?? '');
    fs.files.delete(path);
    const process = new Process(configured);
    expect(await process.open(one)).toBe(1);
    expect(process.announced).toMatchObject([{ name: '1.1', algorithm: 'AES_CTR' }]);
    const after: unknown = JSON.parse(fs.files.get(path)?.bytes.toString() ?? '');
    expect(after).toEqual(Object.assign({}, before, { created: '1970-01-01T00:00:00.000Z', requestId: '' }));
  });

  it('survives the loss also when a context was configured since, under a policy that denies every other', async () => {
    bindStrictly();
    await new Process(ctr).open(one);
    fs.files.delete(path);
    const strict = kms.on;
    kms.on = (operation, call, request) => {
      if (Object.keys(request.encryptionContext).length === 0) throw kmsError('AccessDeniedException');
      return strict(operation, call, request);
    };
    const process = new Process({ encryptionContext: { cluster: 'orders' } });
    expect(await process.open(one)).toBe(1);
    expect(process.announced).toMatchObject([{ name: '1.1', algorithm: 'AES_CTR' }]);
  });

  it('cannot be changed in the sidecar: half an edit is reported and ignored, a whole one does not unwrap', async () => {
    bindStrictly();
    await new Process(ctr).open(one);
    const sidecar: Record<string, unknown> = JSON.parse(fs.files.get(path)?.bytes.toString() ?? '');
    const edit = (changes: Record<string, unknown>): void => {
      fs.files.set(path, { bytes: Buffer.from(JSON.stringify({ ...sidecar, ...changes })), synced: true });
    };
    edit({ encryptionAlgorithm: 'AES_CBC' });
    const process = new Process();
    await process.open(one);
    expect(process.announced).toMatchObject([{ algorithm: 'AES_CTR' }]);
    expect(process.logged[0]).toMatch(/^warning: sidecar aws-kms-key\.1\.1\.json: "encryptionAlgorithm" is AES_CBC/);
    edit({ encryptionAlgorithm: undefined, encryptionContext: undefined });
    await expectKeyError(new Process().open(one), 'KMS_CORRUPT', /^key 1 version 1 .*InvalidCiphertextException/);
  });

  it('is not guessed for a key that nothing opens', async () => {
    store(1, 1, Buffer.from('wrapped:16:made 9'));
    kms.on = () => {
      throw kmsError('InvalidCiphertextException', '');
    };
    await expectKeyError(new Process().open(one), 'KMS_CORRUPT', /^key 1 version 1 .*InvalidCiphertextException/);
    expect(kms.calls.map(({ request }) => request.encryptionContext)).toEqual([{}, place]);
  });
});

it('is not announced for another data key than the one that was created', async () => {
  await new Process().open(one);
  kms.answer = (answer) => ({ ...answer, plaintext: Buffer.alloc(16, 1) });
  const { failures } = await new Process().run((keyring, deadline) => keyring.loadAll(deadline));
  expect(failures.map(({ error }) => error.message)).toEqual([
    expect.stringMatching(/^key 1 version 1 .*its key check value differs/),
  ]);
});

describe('keys that were missing at start-up', () => {
  it('are retried until the last one is there', async () => {
    store(1, 1);
    store(1, 2);
    kms.on = (_, call) => {
      if (call < 4) throw kmsError('AccessDeniedException');
    };
    const process = new Process();
    const reports: number[] = [];
    const stop = new AbortController();
    await clock.runUntil(
      retryMissingKeys(
        [name(1, 2), name(1, 1)],
        { keyring: process.keyring, clock, random: () => 0.5, report: (failures) => reports.push(failures.length) },
        stop.signal,
      ),
    );
    expect(reports).toEqual([2, 1, 0]);
    expect([...process.names].sort()).toEqual(['1.1', '1.2']);
  });

  it('are not asked about again while their files are damaged and the same, for an hour', async () => {
    store(1, 1, Buffer.from('damaged'));
    kms.on = (_operation, _call, request) => {
      if ('wrapped' in request && Buffer.from('damaged').equals(request.wrapped))
        throw kmsError('InvalidCiphertextException');
    };
    const process = new Process();
    const calls = (): number => kms.calls.length;
    const failing = await process.run((keyring, deadline) => keyring.unwrapEach([name(1, 1)], deadline));
    expect(failing.map(({ error }) => error.code)).toEqual(['KMS_CORRUPT']);
    const again = async (): Promise<readonly ErrorCode[]> => {
      const failures = await process.run((keyring, deadline) => keyring.unwrapAgain([name(1, 1)], deadline));
      return failures.map(({ error }) => error.code);
    };
    const before = calls();
    expect(await again()).toEqual(['KMS_CORRUPT']);
    expect(calls()).toBe(before);
    await clock.advance(3_600_000);
    expect(await again()).toEqual(['KMS_CORRUPT']);
    expect(calls()).toBe(2 * before);
    store(1, 1);
    expect(await again()).toEqual([]);
    expect(process.names).toEqual(['1.1']);
  });
});
