import { beforeEach, expect, it } from 'vitest';
import { keyCheckValue } from '../../../src/bytes.ts';
import { keyFileName } from '../../../src/format/key-file-name.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { useMasterKeys } from '../../../src/keyring/daily-use.ts';
import { KeyDirectory } from '../../../src/keystore/directory.ts';
import { KmsCaller } from '../../../src/kms/caller.ts';
import { startDeadline } from '../../../src/kms/retry.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryFs } from '../../support/memory-fs.ts';
import {
  dataKey,
  kmsError,
  MASTER_KEY_ARN,
  MULTI_REGION_ARN,
  OTHER_ARN,
  OtherRegionKms,
  ScriptedKms,
  wrappedKey,
} from '../../support/scripted-kms.ts';
import { TEST_SETTINGS } from '../../support/settings.ts';

const REPLICA = MULTI_REGION_ARN.replace('us-east-1', 'eu-west-1');

let clock: FakeClock;
let kms: ScriptedKms;
let elsewhere: ScriptedKms;
let fs: MemoryFs;
/** Plaintexts that KMS returned. */
let plaintexts: Buffer[];

beforeEach(() => {
  clock = new FakeClock();
  kms = new ScriptedKms();
  elsewhere = new OtherRegionKms();
  fs = new MemoryFs();
  plaintexts = [];
  for (const region of [kms, elsewhere]) {
    region.answer = (answer) => {
      plaintexts.push(answer.plaintext);
      return answer;
    };
  }
});

async function store(id: number, version: number, masterKeyArn?: string): Promise<void> {
  const name = { id: keyId(id), version: keyVersion(version) };
  const wrapped = wrappedKey(`${id}.${version}`);
  if (masterKeyArn === undefined) {
    fs.files.set(`/keys/${keyFileName(name)}`, { bytes: wrapped, synced: true });
    return;
  }
  const sidecar = {
    masterKeyArn,
    keySpec: 'AES_128' as const,
    created: '2030-01-01T00:00:00.000Z',
    requestId: '',
    encryptionContext: {},
  };
  const verify = async () => ({
    value: undefined,
    keyCheckValue: keyCheckValue(dataKey(wrapped)),
    discard: () => undefined,
  });
  await directory().create({ name, wrapped, sidecar, verify, report: () => undefined });
}

function directory(): KeyDirectory {
  return new KeyDirectory('/keys', fs, clock, Math.random);
}

async function use(): Promise<readonly string[]> {
  const deadline = startDeadline(clock, 30_000);
  const observer = { attemptStarted: () => undefined, attemptEnded: () => undefined };
  const parts = {
    settings: TEST_SETTINGS,
    store: directory(),
    kms: new KmsCaller([kms, elsewhere], clock, () => 0.5, observer),
  };
  return await clock.runUntil(useMasterKeys(parts, deadline).finally(() => deadline.cancel()));
}

function asked(client: ScriptedKms): unknown[] {
  return client.calls.map(({ request }) =>
    'wrapped' in request ? [Buffer.from(request.wrapped).toString(), request.masterKeyArn] : [],
  );
}

it('the daily use unwraps one version of each master key, and wipes it', async () => {
  await store(1, 1, MASTER_KEY_ARN);
  await store(1, 2, MASTER_KEY_ARN);
  await store(2, 1, OTHER_ARN);
  expect(await use()).toEqual([]);
  expect(asked(kms)).toEqual([
    ['wrapped:16:1.2', MASTER_KEY_ARN],
    ['wrapped:16:2.1', OTHER_ARN],
  ]);
  expect(asked(elsewhere)).toEqual([]);
  expect(plaintexts).toEqual([Buffer.alloc(16), Buffer.alloc(16)]);
});

it('the daily use includes each Region of a multi-Region master key, wherever its keys were created', async () => {
  await store(1, 1, REPLICA);
  await store(1, 2, MULTI_REGION_ARN);
  expect(await use()).toEqual([]);
  expect(asked(kms)).toEqual([['wrapped:16:1.2', MULTI_REGION_ARN]]);
  expect(asked(elsewhere)).toEqual([['wrapped:16:1.2', REPLICA]]);
});

it('the daily use learns the master key of a version without a sidecar from KMS, and uses its replicas once', async () => {
  await store(1, 1);
  await store(2, 1);
  kms.answer = (answer) => ({ ...answer, masterKeyArn: MULTI_REGION_ARN });
  elsewhere.answer = (answer) => ({ ...answer, masterKeyArn: REPLICA });
  expect(await use()).toEqual([]);
  expect(asked(kms)).toHaveLength(2);
  expect(asked(elsewhere)).toHaveLength(1);
});

it('the daily use calls no other Region for a single-Region master key that no sidecar names', async () => {
  await store(1, 1);
  expect(await use()).toEqual([]);
  expect(asked(kms)).toHaveLength(1);
  expect(asked(elsewhere)).toEqual([]);
});

it("the daily use reports KMS's refusal with its Region, and continues", async () => {
  await store(1, 1, MULTI_REGION_ARN);
  await store(2, 1, MASTER_KEY_ARN);
  elsewhere.on = () => {
    throw kmsError('AccessDeniedException', 'no');
  };
  expect(await use()).toEqual([
    expect.stringMatching(
      /^a master key was not used in eu-west-1 today, and may come to look unused there: key 1 version 1 \(file aws-kms-key\.1\.1\): KMS Decrypt failed: AccessDeniedException: no .*; .+$/,
    ),
  ]);
  expect(asked(kms)).toHaveLength(2);
});

it('the daily use checks its result like a loaded key', async () => {
  await store(1, 1, MASTER_KEY_ARN);
  kms.answer = (answer) => ({ ...answer, plaintext: Buffer.alloc(16, 1) });
  expect(await use()).toEqual([
    expect.stringContaining('not used in us-east-1 today, and may come to look unused there: key 1 version 1'),
  ]);
});

it('the daily use retries a Region after a transient failure, within its time', async () => {
  await store(1, 1, MULTI_REGION_ARN);
  kms.on = (_, call) => {
    if (call === 1) throw kmsError('ThrottlingException');
  };
  elsewhere.on = () => new Promise(() => undefined);
  expect(await use()).toEqual([expect.stringContaining('not used in eu-west-1 today')]);
  expect(asked(kms)).toHaveLength(2);
});

it('the daily use makes no call for an empty directory', async () => {
  expect(await use()).toEqual([]);
  expect([...kms.calls, ...elsewhere.calls]).toEqual([]);
});
