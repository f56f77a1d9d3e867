import { beforeEach, expect, it } from 'vitest';
import { keyFileName } from '../../src/format/key-file-name.ts';
import { keyId, keyVersion } from '../../src/ids.ts';
import { checkMasterKeys, type MasterKeyReport } from '../../src/keyring/master-keys.ts';
import { KeyDirectory } from '../../src/keystore/directory.ts';
import { startDeadline } from '../../src/kms/retry.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { MemoryFs } from '../support/memory-fs.ts';
import { kmsError, MASTER_KEY_ARN, ScriptedKms, wrappedKey } from '../support/scripted-kms.ts';
import { TEST_SETTINGS } from '../support/settings.ts';

let clock: FakeClock;
let kms: ScriptedKms;
let fs: MemoryFs;

beforeEach(() => {
  clock = new FakeClock();
  kms = new ScriptedKms();
  fs = new MemoryFs();
});

const OTHER_ARN = MASTER_KEY_ARN.replace('1234abcd', '9999abcd');

async function store(id: number, version: number, masterKeyArn?: string): Promise<void> {
  const name = { id: keyId(id), version: keyVersion(version) };
  const wrapped = wrappedKey(`${id}.${version}`);
  if (masterKeyArn === undefined) {
    fs.files.set(`/keys/${keyFileName(name)}`, { bytes: wrapped, synced: true });
    return;
  }
  await directory().create({
    name,
    wrapped,
    sidecar: {
      masterKeyArn,
      keySpec: 'AES_128',
      created: '2030-01-01T00:00:00.000Z',
      requestId: '',
      encryptionContext: {},
    },
    verify: async () => ({ value: undefined, keyCheckValue: '0123456789abcdef', discard: () => undefined }),
    report: () => undefined,
  });
}

function directory(): KeyDirectory {
  return new KeyDirectory('/keys', fs, clock, Math.random);
}

async function check(): Promise<MasterKeyReport> {
  const settings = { ...TEST_SETTINGS, masterKeyId: '' };
  const deadline = startDeadline(clock, 30_000);
  return await clock.runUntil(
    checkMasterKeys({ settings, store: directory(), kms, clock }, deadline).finally(() => deadline.cancel()),
  );
}

it('asks once for each master key, with its latest data key', async () => {
  await store(1, 1, MASTER_KEY_ARN);
  await store(1, 2, MASTER_KEY_ARN);
  await store(2, 1, OTHER_ARN);
  await store(3, 1);
  expect(await check()).toEqual({ state: 'usable', daysLeft: undefined, troubles: [] });
  const asked = kms.calls.map(({ request }) =>
    'wrapped' in request ? [Buffer.from(request.wrapped).toString(), request.masterKeyArn] : [],
  );
  expect(asked).toEqual([
    ['wrapped:16:1.2', MASTER_KEY_ARN],
    ['wrapped:16:2.1', OTHER_ARN],
    ['wrapped:16:3.1', undefined],
  ]);
});

it('looks after a master key that only old versions need', async () => {
  await store(1, 1, OTHER_ARN);
  await store(1, 2, MASTER_KEY_ARN);
  kms.on = (_, __, request) => {
    if ('masterKeyArn' in request && request.masterKeyArn === OTHER_ARN)
      throw kmsError('KMSInvalidStateException', 'x is pending deletion.');
  };
  expect(await check()).toMatchObject({ state: 'pending deletion' });
});

it('ends at its deadline, whatever KMS or a source of credentials does', async () => {
  await store(1, 1, MASTER_KEY_ARN);
  kms.probe = () => new Promise(() => undefined);
  expect(await check()).toMatchObject({ state: 'unknown' });
  expect(clock.monotonicMs()).toBe(30_000);
});

it('tells a disabled master key', async () => {
  await store(1, 1, MASTER_KEY_ARN);
  kms.on = () => {
    throw kmsError('DisabledException', `${MASTER_KEY_ARN} is disabled.`);
  };
  const report = await check();
  expect(report).toMatchObject({ state: 'disabled', daysLeft: undefined });
  expect(report.troubles).toEqual([
    expect.stringMatching(
      /^the master key of key 1 version 1 \(file aws-kms-key\.1\.1\) is disabled: a running server goes on, the next start fails: DisabledException: arn:\S+ is disabled\. \(request \S+\); .*aws kms enable-key/,
    ),
  ]);
});

it('counts the days until a master key is deleted, where it may know the date', async () => {
  await store(1, 1, MASTER_KEY_ARN);
  kms.on = () => {
    throw kmsError('KMSInvalidStateException', `${MASTER_KEY_ARN} is pending deletion.`);
  };
  expect(await check()).toMatchObject({ state: 'pending deletion', daysLeft: undefined });
  kms.masterKey = { state: 'PendingDeletion', deletionDate: new Date(clock.wallMs() + 6.5 * 86_400_000) };
  const report = await check();
  expect(report).toMatchObject({ state: 'pending deletion', daysLeft: 6 });
  expect(report.troubles[0]).toContain('is pending deletion, 6 days left: ');
  expect(report.troubles[0]).toContain('aws kms cancel-key-deletion');
});

it('tells the worst of several, and the soonest', async () => {
  await store(1, 1, MASTER_KEY_ARN);
  await store(2, 1, OTHER_ARN);
  kms.on = (_, __, request) => {
    const arn = 'masterKeyArn' in request ? request.masterKeyArn : '';
    throw arn === OTHER_ARN
      ? kmsError('KMSInvalidStateException', 'x is pending deletion.')
      : kmsError('DisabledException', 'x is disabled.');
  };
  const report = await check();
  expect(report.state).toBe('pending deletion');
  expect(report.troubles).toHaveLength(2);
});

it.each(['AccessDeniedException', 'ThrottlingException', 'ECONNREFUSED', 'CredentialsProviderError'])(
  'says that it cannot tell after %s',
  async (name) => {
    await store(1, 1, MASTER_KEY_ARN);
    kms.on = () => {
      throw kmsError(name);
    };
    const report = await check();
    expect(report.state).toBe('unknown');
    expect(report.troubles).toEqual([
      expect.stringMatching(/^whether the master key of key 1 version 1 .* is usable cannot be told: /),
    ]);
  },
);

it('has nothing to say of an empty directory', async () => {
  expect(await check()).toEqual({ state: 'usable', daysLeft: undefined, troubles: [] });
  expect(kms.calls).toEqual([]);
});
