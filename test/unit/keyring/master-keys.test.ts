import { beforeEach, describe, expect, it } from 'vitest';
import { keyFileName } from '../../../src/format/key-file-name.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { checkMasterKeys, type MasterKeyReport } from '../../../src/keyring/master-keys.ts';
import { KeyDirectory } from '../../../src/keystore/directory.ts';
import { KmsCaller } from '../../../src/kms/caller.ts';
import type { AttemptOutcome } from '../../../src/kms/observer.ts';
import { startDeadline } from '../../../src/kms/retry.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs } from '../../support/memory-fs.ts';
import {
  kmsError,
  MASTER_KEY_ARN,
  MULTI_REGION_ARN,
  OTHER_ARN,
  OtherRegionKms,
  ScriptedKms,
  wrappedKey,
} from '../../support/scripted-kms.ts';
import { TEST_SETTINGS } from '../../support/settings.ts';

let clock: FakeClock;
let kms: ScriptedKms;
let elsewhere: ScriptedKms;
let fs: MemoryFs;
let outcomes: AttemptOutcome[];

beforeEach(() => {
  clock = new FakeClock();
  kms = new ScriptedKms();
  elsewhere = new OtherRegionKms();
  fs = new MemoryFs();
  outcomes = [];
});

const CONTEXT = { cluster: 'orders' };

async function store(id: number, version: number, masterKeyArn?: string, encryptionContext = {}): Promise<void> {
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
      encryptionContext,
    },
    verify: async () => ({ value: undefined, keyCheckValue: '0123456789abcdef', discard: () => undefined }),
    report: () => undefined,
  });
}

function directory(): KeyDirectory {
  return new KeyDirectory('/keys', fs, clock, Math.random);
}

async function check(encryptionContext = {}): Promise<MasterKeyReport> {
  const settings = { ...TEST_SETTINGS, masterKeyId: '', encryptionContext };
  const deadline = startDeadline(clock, 30_000);
  const observer = {
    attemptStarted: () => undefined,
    attemptEnded: (_: unknown, __: unknown, outcome: AttemptOutcome) => void outcomes.push(outcome),
  };
  const clients = [kms, elsewhere] as const;
  const parts = {
    settings,
    store: directory(),
    clients,
    kms: new KmsCaller(clients, clock, () => 0.5, observer),
    clock,
  };
  return await clock.runUntil(checkMasterKeys(parts, deadline).finally(() => deadline.cancel()));
}

function asked(client: ScriptedKms): unknown[] {
  return client.calls.map(({ request }) =>
    'wrapped' in request ? [Buffer.from(request.wrapped).toString(), request.masterKeyArn] : [],
  );
}

it('the watch calls KMS once for each master key, with its latest data key, and for each key without a sidecar', async () => {
  await store(1, 1, MASTER_KEY_ARN);
  await store(1, 2, MASTER_KEY_ARN);
  await store(2, 1, OTHER_ARN);
  await store(3, 1);
  await store(4, 1);
  expect(await check()).toEqual({ state: 'usable', daysLeft: undefined, troubles: [] });
  expect(asked(kms)).toEqual([
    ['wrapped:16:1.2', MASTER_KEY_ARN],
    ['wrapped:16:2.1', OTHER_ARN],
    ['wrapped:16:3.1', undefined],
    ['wrapped:16:4.1', undefined],
  ]);
  expect(outcomes).toHaveLength(4);
});

it('the watch asks with and without a context, which a policy may distinguish', async () => {
  await store(1, 1, MASTER_KEY_ARN);
  await store(1, 2, MASTER_KEY_ARN, { ...CONTEXT, 'mariadb-aws-kms:key-id': '1', 'mariadb-aws-kms:key-version': '2' });
  kms.on = (_, __, { encryptionContext }) => {
    if (encryptionContext['cluster'] === undefined) throw kmsError('AccessDeniedException');
  };
  expect(await check()).toMatchObject({ state: 'unknown' });
  expect(kms.calls).toHaveLength(2);
});

it('the watch also tries a key of the original plugin without the configured context', async () => {
  await store(1, 1);
  kms.on = (_, __, { encryptionContext }) => {
    if (Object.keys(encryptionContext).length > 0) throw kmsError('InvalidCiphertextException');
  };
  expect(await check(CONTEXT)).toEqual({ state: 'usable', daysLeft: undefined, troubles: [] });
});

it('the watch tries a key of AES_CTR without a sidecar with its own context', async () => {
  await store(1, 1);
  kms.on = (_, __, { encryptionContext }) => {
    if (encryptionContext['mariadb-aws-kms:encryption-algorithm'] !== 'AES_CTR')
      throw kmsError('InvalidCiphertextException');
  };
  expect(await check()).toEqual({ state: 'usable', daysLeft: undefined, troubles: [] });
  kms.on = () => {
    throw kmsError('InvalidCiphertextException');
  };
  expect(await check()).toMatchObject({ state: 'unknown' });
});

it('the watch includes the master key of a key file that its sidecar does not describe', async () => {
  await store(1, 1, MASTER_KEY_ARN);
  fs.files.set('/keys/aws-kms-key.1.1', { bytes: wrappedKey('moved'), synced: true });
  await check();
  expect(asked(kms)).toEqual([['wrapped:16:moved', undefined]]);
});

it('the watch includes a master key that only old versions need', async () => {
  await store(1, 1, OTHER_ARN);
  await store(1, 2, MASTER_KEY_ARN);
  kms.on = (_, __, request) => {
    if ('masterKeyArn' in request && request.masterKeyArn === OTHER_ARN)
      throw kmsError('KMSInvalidStateException', 'x is pending deletion.');
  };
  expect(await check()).toMatchObject({ state: 'pending deletion' });
});

it('the watch ends whatever KMS or a credential source does, and one silent call hides no other', async () => {
  await store(1, 1, MASTER_KEY_ARN);
  await store(2, 1, OTHER_ARN);
  kms.on = (_, __, request) => {
    if ('masterKeyArn' in request && request.masterKeyArn === MASTER_KEY_ARN) return new Promise(() => undefined);
    throw kmsError('DisabledException', 'x is disabled.');
  };
  const report = await check();
  expect(report.state).toBe('disabled');
  expect(report.troubles).toHaveLength(2);
  expect(clock.monotonicMs()).toBeLessThan(10_000);
});

it('the watch reports a disabled master key and its Region', async () => {
  await store(1, 1, MASTER_KEY_ARN);
  kms.on = () => {
    throw kmsError('DisabledException', `${MASTER_KEY_ARN} is disabled.`);
  };
  const report = await check();
  expect(report).toMatchObject({ state: 'disabled', daysLeft: undefined });
  expect(report.troubles).toEqual([
    {
      severity: 'error',
      text: expect.stringMatching(
        /^the master key of key 1 version 1 \(file aws-kms-key\.1\.1\) is disabled in us-east-1: DisabledException: arn:\S+ is disabled\. \(request \S+\); .*aws kms enable-key.*; a running server goes on, the next start fails$/,
      ),
    },
  ]);
  expect(elsewhere.calls).toEqual([]);
});

it('the watch reports a deleted master key, unless it was always elsewhere', async () => {
  await store(1, 1, MASTER_KEY_ARN);
  kms.on = () => {
    throw kmsError('NotFoundException', `Key '${MASTER_KEY_ARN}' does not exist`);
  };
  const report = await check();
  expect(report).toMatchObject({ state: 'deleted', daysLeft: undefined });
  expect(report.troubles[0]?.text).toMatch(/is deleted in us-east-1: NotFoundException: .*the next start fails$/);
  fs.files.clear();
  await store(1, 1, MASTER_KEY_ARN.replace('us-east-1', 'eu-west-1'));
  expect(await check()).toMatchObject({ state: 'unknown' });
});

it('the watch counts the days until a master key is deleted, if it may see the date', async () => {
  await store(1, 1, MASTER_KEY_ARN);
  kms.on = () => {
    throw kmsError('KMSInvalidStateException', `${MASTER_KEY_ARN} is pending deletion.`);
  };
  expect(await check()).toMatchObject({ state: 'pending deletion', daysLeft: undefined });
  kms.masterKey = { state: 'PendingDeletion', deletionMs: clock.wallMs() + 6.5 * 86_400_000 };
  const report = await check();
  expect(report).toMatchObject({ state: 'pending deletion', daysLeft: 6 });
  expect(report.troubles[0]?.text).toContain('is pending deletion in us-east-1, 6 days left: ');
  expect(report.troubles[0]?.text).toContain('aws kms cancel-key-deletion');
});

it('the watch reports the worst of several states, and the earliest deletion', async () => {
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
  'the watch reports an unknown state after %s',
  async (name) => {
    await store(1, 1, MASTER_KEY_ARN);
    kms.on = () => {
      throw kmsError(name);
    };
    const report = await check();
    expect(report.state).toBe('unknown');
    expect(report.troubles).toEqual([
      {
        severity: 'warning',
        text: expect.stringMatching(
          /^the master key of key 1 version 1 .* is perhaps unusable in us-east-1: .*; a running server goes on, the next start may fail$/,
        ),
      },
    ]);
  },
);

describe('a multi-Region master key', () => {
  beforeEach(async () => {
    await store(1, 1, MULTI_REGION_ARN);
    kms.on = () => {
      throw kmsError('DisabledException', `${MULTI_REGION_ARN} is disabled.`);
    };
  });

  it("with a working replica has the configured Region's state, and the log names the Region that would serve", async () => {
    const report = await check();
    expect(report.state).toBe('disabled');
    expect(report.troubles).toEqual([
      {
        severity: 'warning',
        text: expect.stringMatching(
          /is disabled in us-east-1: .*; a running server goes on, the next start would be served by eu-west-1$/,
        ),
      },
    ]);
    expect(asked(elsewhere)).toEqual([['wrapped:16:1.1', MULTI_REGION_ARN.replace('us-east-1', 'eu-west-1')]]);
  });

  it('with a replica pending deletion reports both, with the days of the configured Region', async () => {
    elsewhere.on = () => {
      throw kmsError('KMSInvalidStateException', 'x is pending deletion.');
    };
    elsewhere.masterKey = { state: 'PendingDeletion', deletionMs: clock.wallMs() + 3.5 * 86_400_000 };
    const report = await check();
    expect(report).toMatchObject({ state: 'disabled', daysLeft: undefined });
    expect(report.troubles).toEqual([
      {
        severity: 'error',
        text: expect.stringMatching(
          /is disabled in us-east-1: .*; it is pending deletion in eu-west-1, 3 days left: .*; a running server goes on, the next start fails$/,
        ),
      },
    ]);
  });

  it('is tested in the next Region when the first is silent', async () => {
    kms.on = () => new Promise(() => undefined);
    const report = await check();
    expect(report.state).toBe('unknown');
    expect(report.troubles[0]?.text).toMatch(/the next start would be served by eu-west-1$/);
  });
});

it('the watch reports nothing for an empty directory', async () => {
  expect(await check()).toEqual({ state: 'usable', daysLeft: undefined, troubles: [] });
  expect(kms.calls).toEqual([]);
});
