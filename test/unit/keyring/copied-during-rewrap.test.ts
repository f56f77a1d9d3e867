/** A copy of the key directory made during a `rewrap`: key files from after it, sidecars from before. */
import { beforeEach, describe, expect, it } from 'vitest';
import { keyCheckValue } from '../../../src/bytes.ts';
import { DEFAULT_REGION } from '../../../src/dev-kms/index.ts';
import { sha256 } from '../../../src/disk/files.ts';
import { parseKeyCache } from '../../../src/format/key-cache.ts';
import { type KeyName, keyFileName, sidecarFileName } from '../../../src/format/key-file-name.ts';
import { parseSidecar } from '../../../src/format/sidecar.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { Keyring } from '../../../src/keyring/keyring.ts';
import { mendSidecar } from '../../../src/keyring/mend-sidecar.ts';
import { unwrapStoredKey } from '../../../src/keyring/unwrap.ts';
import { unwrapBackup } from '../../../src/keyring/unwrap-backup.ts';
import { backUpKeys } from '../../../src/keystore/backup.ts';
import { KeyDirectory } from '../../../src/keystore/directory.ts';
import { backupNamedBy } from '../../../src/keystore/failures.ts';
import { checkBackup } from '../../../src/keystore/verify-backup.ts';
import { KmsCaller } from '../../../src/kms/caller.ts';
import { startDeadline } from '../../../src/kms/retry.ts';
import { EmbeddedClient } from '../../support/embedded-client.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs, systemError } from '../../support/memory-fs.ts';
import { rewrap } from '../../support/rewrapping.ts';
import { kmsError } from '../../support/scripted-kms.ts';
import { TEST_SETTINGS } from '../../support/settings.ts';
import { type StoredHow, storeKey } from '../../support/stored-keys.ts';

const COPYING = {
  to: '/copy',
  toNamed: backupNamedBy('--to'),
  tool: 'test',
};

const CONTEXT = { cluster: 'orders' };
const MISMATCH =
  'key 1 version 1: key file aws-kms-key\\.1\\.1: its SHA-256 is [0-9a-f]{64}, its sidecar says [0-9a-f]{64}';

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

function name(id: number): KeyName {
  return { id: keyId(id), version: keyVersion(1) };
}

function store(id: number, how: StoredHow = {}): void {
  truth.set(keyFileName(name(id)), keyCheckValue(storeKey(fs, kms, name(id), how)));
}

function arnOf(alias: string): string {
  return kms.kms.ensureAlias(DEFAULT_REGION, alias);
}

function bytesOf(file: string): Buffer | undefined {
  return fs.files.get(`/keys/${file}`)?.bytes;
}

/** Makes a copy in which every sidecar is from before the run and every key file from after it. */
async function moveUnderTheCopy(): Promise<void> {
  const before = new Map([...fs.files].filter(([path]) => path.endsWith('.json')));
  const { problems } = await rewrap({ fileSystem: fs, kms, clock });
  expect(problems).toEqual([]);
  for (const path of [...fs.files.keys()]) if (path.startsWith('/backup')) fs.files.delete(path);
  for (const [path, file] of before) fs.files.set(path, file);
  kms.calls.length = 0;
}

function caller(): KmsCaller {
  return new KmsCaller([kms.client], clock, () => 0.5, {
    attemptStarted: () => undefined,
    attemptEnded: () => undefined,
  });
}

function directory(path = '/keys'): KeyDirectory {
  return new KeyDirectory(path, fs, clock, Math.random);
}

function disk() {
  return { fileSystem: fs, clock, random: Math.random };
}

/** A start of the server, or of mariadb-backup. */
async function load(role: 'server' | 'backup' = 'server', sealedKeyCache = false) {
  const loaded = new Map<string, string>();
  const warnings: string[] = [];
  const keyring = new Keyring({
    role,
    unnamedHeld: 0,
    settings: () => ({ ...TEST_SETTINGS, encryptionContext: CONTEXT, sealedKeyCache }),
    store: directory(),
    kms: caller(),
    clock,
    events: {
      announce: (key, _, __, dataKey) => void loaded.set(keyFileName(key), keyCheckValue(dataKey)),
      log: (severity, text) => void (severity === 'warning' && warnings.push(text)),
      count: () => undefined,
    },
  });
  const deadline = startDeadline(clock, 60_000);
  const { failures } = await clock.runUntil(keyring.loadAll(deadline).finally(() => deadline.cancel()));
  if (keyring.sealing !== undefined) await clock.runUntil(keyring.sealing);
  return { loaded, warnings, failures };
}

async function refusal() {
  const { failures } = await load();
  expect(failures).toHaveLength(1);
  return failures[0]?.error;
}

describe('a start from a copy made during a rewrap', () => {
  it.each<[string, StoredHow]>([
    ['without a context', {}],
    ['bound to a context', { configured: CONTEXT }],
    ['of AES_CTR', { algorithm: 'AES_CTR' }],
  ])('opens a key %s, logs that once, and corrects the sidecar', async (_, how) => {
    store(1, how);
    const before = parseSidecar(name(1), String(bytesOf('aws-kms-key.1.1.json')));
    await moveUnderTheCopy();
    const { loaded, warnings, failures } = await load();
    expect(failures).toEqual([]);
    expect(loaded).toEqual(truth);
    const end = `KMS opens it under ${arnOf('alias/b')}, and it is the same data key, as when the two are copied while rewrap replaces them; its sidecar was corrected`;
    expect(warnings).toEqual([expect.stringMatching(new RegExp(`^${MISMATCH}; ${end}$`))]);
    const { masterKeyArn, wrappedSha256, requestId } = before;
    expect(parseSidecar(name(1), String(bytesOf('aws-kms-key.1.1.json')))).toEqual({
      ...before,
      masterKeyArn: arnOf('alias/b'),
      wrappedSha256: sha256(bytesOf('aws-kms-key.1.1') ?? Buffer.alloc(0)),
      requestId: '',
      replaces: { masterKeyArn, wrappedSha256, requestId },
    });
    expect(kms.calls).toHaveLength(1);
    expect([...fs.afterPowerLoss().files.keys()].sort()).toEqual([
      '/keys/aws-kms-key.1.1',
      '/keys/aws-kms-key.1.1.json',
    ]);
    expect(await load()).toMatchObject({ warnings: [], failures: [] });
    expect(await rewrap({ fileSystem: fs, kms, clock })).toMatchObject({ moved: [], problems: [], others: [] });
  });

  it('of mariadb-backup opens the key and leaves the sidecar alone', async () => {
    store(1);
    await moveUnderTheCopy();
    const before = bytesOf('aws-kms-key.1.1.json');
    const { loaded, warnings } = await load('backup');
    expect(loaded).toEqual(truth);
    expect(warnings).toEqual([expect.stringMatching(/; its sidecar is corrected by a later start of the server$/)]);
    expect(bytesOf('aws-kms-key.1.1.json')).toEqual(before);
  });

  it('served by another Region leaves the sidecar alone, which names a key of this one', async () => {
    store(1);
    await moveUnderTheCopy();
    const before = bytesOf('aws-kms-key.1.1.json');
    const stored = await directory().readToUnwrap(name(1));
    const deadline = startDeadline(clock, 60_000);
    const unwrapped = await unwrapStoredKey(caller(), CONTEXT, name(1), stored, deadline);
    deadline.cancel();
    const warnings: string[] = [];
    const events = {
      announce: () => undefined,
      count: () => undefined,
      log: (_: unknown, text: string) => warnings.push(text),
    };
    const parts = { store: directory(), role: 'server', events } as const;
    await mendSidecar(parts, name(1), stored, { ...unwrapped, servedBy: 'eu-west-1' });
    expect(warnings).toEqual([expect.stringMatching(/; its sidecar is corrected by a later start of the server$/)]);
    expect(bytesOf('aws-kms-key.1.1.json')).toEqual(before);
  });

  it('opens the key even where no sidecar can be stored', async () => {
    store(1);
    await moveUnderTheCopy();
    fs.before = (call) => {
      if (call === 'rename') throw systemError('EROFS');
    };
    const { loaded, warnings, failures } = await load();
    expect(failures).toEqual([]);
    expect(loaded).toEqual(truth);
    expect(warnings).toEqual([
      expect.stringMatching(
        /; its sidecar was not corrected: cannot store aws-kms-key\.1\.1\.json in the key directory \/keys: EROFS: injected; the file system is mounted read-only/,
      ),
    ]);
  });

  it('leaves a pair alone that a rewrap has completed meanwhile', async () => {
    store(1);
    const old = bytesOf('aws-kms-key.1.1.json') ?? Buffer.alloc(0);
    await rewrap({ fileSystem: fs, kms, clock });
    const right = bytesOf('aws-kms-key.1.1.json') ?? Buffer.alloc(0);
    fs.files.set('/keys/aws-kms-key.1.1.json', { bytes: old, synced: true });
    kms.on = () => void fs.files.set('/keys/aws-kms-key.1.1.json', { bytes: right, synced: true });
    const { loaded, warnings } = await load();
    expect(loaded).toEqual(truth);
    expect(warnings).toEqual([expect.stringMatching(/; one of them is another by now$/)]);
    expect(bytesOf('aws-kms-key.1.1.json')).toEqual(right);
  });

  it('adds the key to the sealed key cache only when its pair is consistent, since keys in it are not checked again', async () => {
    store(1);
    store(2);
    await moveUnderTheCopy();
    const sealed = (): readonly KeyName[] => {
      const cache = bytesOf('aws-kms-sealed-key-cache');
      return cache === undefined ? [] : parseKeyCache(cache).names;
    };
    fs.before = (call, path) => {
      if (call === 'rename' && path.endsWith('.json')) throw systemError('ENOSPC');
    };
    expect((await load('server', true)).loaded).toEqual(truth);
    expect(sealed()).toEqual([]);
    fs.before = () => undefined;
    expect((await load('server', true)).warnings).toHaveLength(2);
    expect(await load('server', true)).toMatchObject({ loaded: truth, warnings: [] });
    expect(sealed()).toEqual([name(1), name(2)]);
    const cache = bytesOf('aws-kms-sealed-key-cache');
    expect(cache && parseKeyCache(cache).header.masterKeyArn).toBe(arnOf('alias/b'));
    await directory().read(name(1));
  });

  it('keeps the owner of the corrected sidecar', async () => {
    store(1);
    await moveUnderTheCopy();
    const changed: string[] = [];
    fs.before = (call) => void (call.startsWith('ch') && changed.push(call));
    await load();
    expect(changed).toEqual(['chown', 'chmod']);
  });
});

describe('a key file in place of another', () => {
  it('without a context is refused: it holds another data key', async () => {
    store(1);
    store(2);
    fs.files.set('/keys/aws-kms-key.1.1', { bytes: bytesOf('aws-kms-key.2.1') ?? Buffer.alloc(0), synced: true });
    const sidecar = bytesOf('aws-kms-key.1.1.json');
    const error = await refusal();
    expect(error).toMatchObject({
      code: 'KEY_FILE_CORRUPT',
      message: expect.stringMatching(
        new RegExp(
          `^${MISMATCH}: KMS in us-east-1 answered wrongly: the data key is not the one .*check value differs`,
        ),
      ),
      hint: 'restore the file from a backup; if you replaced it on purpose, move aws-kms-key.1.1.json away',
    });
    expect(bytesOf('aws-kms-key.1.1.json')).toEqual(sidecar);
  });

  it('of another length is refused', async () => {
    store(1);
    const made = kms.kms.generateDataKeyWithoutPlaintext({
      region: DEFAULT_REGION,
      keyId: 'alias/a',
      keySpec: 'AES_256',
    });
    fs.files.set('/keys/aws-kms-key.1.1', { bytes: Buffer.from(made.ciphertextBlob), synced: true });
    expect(await refusal()).toMatchObject({
      code: 'KEY_FILE_CORRUPT',
      message: expect.stringMatching(new RegExp(`^${MISMATCH}: .*"data key" expected 16 bytes for AES_128, got 32`)),
    });
  });

  it.each<[string, () => Buffer]>([
    ['bound to another place', () => bytesOf('aws-kms-key.2.1') ?? Buffer.alloc(0)],
    ['damaged', () => Buffer.from('no wrapped key')],
  ])('is refused by KMS when it is %s', async (_, bytes) => {
    store(1, { configured: CONTEXT });
    store(2, { configured: CONTEXT });
    fs.files.set('/keys/aws-kms-key.1.1', { bytes: bytes(), synced: true });
    expect(await refusal()).toMatchObject({
      code: 'KEY_FILE_CORRUPT',
      message: expect.stringMatching(new RegExp(`^${MISMATCH}: KMS Decrypt failed: InvalidCiphertextException`)),
      hint: expect.stringMatching(/^restore the file from a backup; /),
    });
  });

  it('without a key check value is refused, and KMS is not asked', async () => {
    store(1, { sidecar: 'early' });
    await moveUnderTheCopy();
    expect(await refusal()).toMatchObject({
      code: 'KEY_FILE_CORRUPT',
      message: expect.stringMatching(new RegExp(`^${MISMATCH}$`)),
      hint: 'restore the file from a backup; if you replaced it on purpose, move aws-kms-key.1.1.json away',
    });
    expect(kms.calls).toEqual([]);
  });

  it('that KMS cannot judge for now is not called damaged', async () => {
    store(1);
    await moveUnderTheCopy();
    const sidecar = bytesOf('aws-kms-key.1.1.json');
    kms.on = () => {
      throw kmsError('AccessDeniedException');
    };
    expect(await refusal()).toMatchObject({
      code: 'KMS_OPERATOR',
      message: expect.stringMatching(new RegExp(`^${MISMATCH}: KMS Decrypt failed: AccessDeniedException`)),
      // The hint does not suggest a right to another server's master key.
      hint: expect.stringMatching(
        /^perhaps it is not the file of this key: restore the file .*; if it is: .*kms:Decrypt/,
      ),
    });
    expect(bytesOf('aws-kms-key.1.1.json')).toEqual(sidecar);
    kms.on = () => undefined;
    expect((await load()).loaded).toEqual(truth);
  });
});

describe('an inconsistent pair of key file and sidecar', () => {
  const HINT =
    /^restore the file from a backup; if you replaced it on purpose, move .*, unless it holds the same data key/;

  beforeEach(async () => {
    store(1);
    await moveUnderTheCopy();
  });

  it('is not backed up, and is named', async () => {
    const { manifest, problems } = await backUpKeys({ ...COPYING, from: directory() }, disk());
    expect(manifest.keys).toEqual([]);
    expect(problems).toMatchObject([
      {
        code: 'KEY_FILE_CORRUPT',
        message: expect.stringMatching(new RegExp(`^${MISMATCH}$`)),
        hint: expect.stringMatching(HINT),
      },
    ]);
  });

  it('fails the check of a backup', async () => {
    const deadline = startDeadline(clock, 60_000);
    const parts = { disk: disk(), caller: caller(), context: CONTEXT };
    const problems = await unwrapBackup('/keys', [name(1)], parts, deadline);
    deadline.cancel();
    expect(problems).toMatchObject([{ code: 'KEY_FILE_CORRUPT', hint: expect.stringMatching(HINT) }]);
  });

  it('is not moved before a start of the server has corrected it', async () => {
    const { moved, problems } = await rewrap({ fileSystem: fs, kms, clock });
    expect(moved).toEqual([]);
    expect(problems).toMatchObject([{ code: 'KEY_FILE_CORRUPT', hint: expect.stringMatching(HINT) }]);
    await expectKeyError(directory().read(name(1)), 'KEY_FILE_CORRUPT', new RegExp(`^${MISMATCH}$`));
  });
});

it('a backup at any moment of a rewrap has consistent pairs, all of which open', async () => {
  for (const id of [1, 2]) store(id, id === 1 ? {} : { configured: CONTEXT });
  const original = new Map(fs.files);
  /** The directory's content after each step of the run. */
  const states: Map<string, { bytes: Buffer; synced: boolean }>[] = [];
  fs.before = (call, path) => {
    if (path.startsWith('/keys') && call === 'rename') states.push(new Map(fs.files));
  };
  await rewrap({ fileSystem: fs, kms, clock });
  states.push(new Map(fs.files));
  expect(states.length).toBe(5);
  const show = (state: (typeof states)[number]): void => {
    for (const [path, file] of state) if (/^\/keys\/aws-kms-key/.test(path)) fs.files.set(path, file);
  };
  let calls = 0;
  for (let first = 1, isOver = false; !isOver; first += 1) {
    for (const pause of [1, 2, 3, 5, 8]) {
      fs.files.clear();
      show(original);
      calls = 0;
      fs.before = () => {
        calls += 1;
        const state = states[Math.floor((calls - first) / pause)];
        if (calls >= first) show(state ?? states.at(-1) ?? original);
      };
      const { problems, manifest } = await backUpKeys({ ...COPYING, from: directory() }, disk());
      isOver = calls < first;
      fs.before = () => undefined;
      expect(problems).toEqual([]);
      expect(manifest.keys).toHaveLength(2);
      expect(await checkBackup('/copy', disk())).toMatchObject({ damage: [], unlisted: [], gaps: [] });
      for (const id of [1, 2]) {
        const deadline = startDeadline(clock, 60_000);
        const stored = await directory('/copy').read(name(id));
        const { plaintext } = await unwrapStoredKey(caller(), CONTEXT, name(id), stored, deadline);
        deadline.cancel();
        expect(keyCheckValue(plaintext)).toBe(truth.get(keyFileName(name(id))));
        expect(fs.files.has(`/copy/${sidecarFileName(name(id))}`)).toBe(true);
      }
    }
  }
  // A control: some runs were interrupted.
  expect(calls).toBeGreaterThan(20);
});
