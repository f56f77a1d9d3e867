import { beforeEach, describe, expect, it } from 'vitest';
import type { DecryptedKey, DecryptRequest, KmsClient } from '../../src/kms/client.ts';
import { HEDGE_AFTER_MS, withFailover } from '../../src/kms/failover.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { dataKey, kmsError, ScriptedKms, wrappedKey } from '../support/scripted-kms.ts';

const MRK = 'arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab';
const SINGLE = 'arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
const wrapped = wrappedKey('a');

class RegionalKms extends ScriptedKms {
  override readonly region: string;

  constructor(region: string) {
    super();
    this.region = region;
  }
}

let clock: FakeClock;
let regions: [RegionalKms, RegionalKms, RegionalKms];
let client: KmsClient;

beforeEach(() => {
  clock = new FakeClock();
  regions = [new RegionalKms('us-east-1'), new RegionalKms('eu-west-1'), new RegionalKms('eu-central-1')];
  const [first, ...others] = regions;
  client = withFailover(first, others, clock);
});

function decrypt(masterKeyArn: string | undefined = MRK, signal = new AbortController().signal): Promise<DecryptedKey> {
  return clock.runUntil(client.decrypt({ wrapped, masterKeyArn, encryptionContext: {} }, signal));
}

function fail(kms: RegionalKms, name: string, status = 400): void {
  kms.on = () => {
    throw kmsError(name, '', status);
  };
}

function asked(): number[] {
  return regions.map(({ calls }) => calls.length);
}

describe('Decrypt under a multi-Region master key', () => {
  it('asks the first Region only, while that answers', async () => {
    const answer = await decrypt();
    expect(answer.plaintext).toEqual(dataKey(wrapped));
    expect(answer.servedBy).toBeUndefined();
    expect(asked()).toEqual([1, 0, 0]);
  });

  it.each([
    'DisabledException',
    'KMSInvalidStateException',
    'AccessDeniedException',
    'NotFoundException',
    'ThrottlingException',
    'ECONNREFUSED',
  ])('asks the next Region at once after %s, naming the key by its replica there', async (name) => {
    fail(regions[0], name);
    const answer = await decrypt();
    expect(answer.plaintext).toEqual(dataKey(wrapped));
    expect(answer.servedBy).toEqual({
      region: 'eu-west-1',
      because: expect.stringMatching(new RegExp(`^us-east-1: ${name}`)),
    });
    expect(clock.monotonicMs()).toBe(0);
    const [request] = regions[1].calls.map(({ request: sent }) => sent as DecryptRequest);
    expect(request?.masterKeyArn).toBe(MRK.replace('us-east-1', 'eu-west-1'));
  });

  it('asks the next Region beside a silent one, and takes the first answer', async () => {
    regions[0].on = () => new Promise(() => undefined);
    const answer = await decrypt();
    expect(answer.servedBy).toEqual({
      region: 'eu-west-1',
      because: `us-east-1 did not answer within ${HEDGE_AFTER_MS} ms`,
    });
    expect(clock.monotonicMs()).toBe(HEDGE_AFTER_MS);
    expect(regions[0].inFlight).toBe(0);
  });

  it('takes the answer of a slow first Region that still comes first, and wipes the other', async () => {
    regions[0].on = () => clock.sleep(1500);
    regions[1].on = () => clock.sleep(5000);
    const answer = await decrypt();
    expect(answer.servedBy).toBeUndefined();
    expect(clock.monotonicMs()).toBe(1500);
    expect(asked()).toEqual([1, 1, 0]);
  });

  it('goes through all Regions, fails with the first failure when all do, and tells the others', async () => {
    fail(regions[0], 'DisabledException');
    fail(regions[1], 'AccessDeniedException');
    fail(regions[2], 'NotFoundException');
    await expect(decrypt()).rejects.toMatchObject({
      name: 'DisabledException',
      message: expect.stringMatching(
        /^us-east-1: .*\[eu-west-1: AccessDeniedException.*; eu-central-1: NotFoundException.*\]$/,
      ),
    });
    expect(asked()).toEqual([1, 1, 1]);
  });

  it('fails with what passes, when any failure does, so that the call is tried again', async () => {
    fail(regions[0], 'DisabledException');
    fail(regions[1], 'ThrottlingException');
    fail(regions[2], 'AccessDeniedException');
    await expect(decrypt()).rejects.toMatchObject({
      name: 'ThrottlingException',
      message: expect.stringContaining('us-east-1: DisabledException'),
    });
  });

  it.each(['InvalidCiphertextException', 'OptInRequired', 'CERT_HAS_EXPIRED'])(
    'does not believe another Region that says %s while the first is only slow',
    async (name) => {
      regions[0].on = () => clock.sleep(3000);
      fail(regions[1], name);
      fail(regions[2], name);
      const answer = await decrypt(undefined);
      expect(answer.plaintext).toEqual(dataKey(wrapped));
      expect(answer.servedBy).toBeUndefined();
    },
  );

  it('waits for the last Region however long it takes', async () => {
    for (const region of regions.slice(0, 2)) fail(region as RegionalKms, 'DisabledException');
    regions[2].on = () => clock.sleep(8000);
    expect((await decrypt()).servedBy?.region).toBe('eu-central-1');
  });

  it.each(['InvalidCiphertextException', 'IncorrectKeyException', 'ExpiredTokenException', 'ValidationException'])(
    'does not ask elsewhere after %s, which is so everywhere',
    async (name) => {
      fail(regions[0], name);
      await expect(decrypt()).rejects.toMatchObject({ name });
      expect(asked()).toEqual([1, 0, 0]);
    },
  );

  it('ends with the caller', async () => {
    regions[0].on = () => new Promise(() => undefined);
    regions[1].on = () => new Promise(() => undefined);
    regions[2].on = () => new Promise(() => undefined);
    const caller = new AbortController();
    const pending = client.decrypt({ wrapped, masterKeyArn: MRK, encryptionContext: {} }, caller.signal);
    pending.catch(() => undefined);
    await clock.advance(5000);
    expect(asked()).toEqual([1, 1, 1]);
    caller.abort(new Error('deadline'));
    await expect(pending).rejects.toThrow();
    expect(regions.map(({ inFlight }) => inFlight)).toEqual([0, 0, 0]);
  });
});

it('a key without replicas is asked for in its Region only, one without a sidecar everywhere', async () => {
  fail(regions[0], 'AccessDeniedException');
  await expect(decrypt(SINGLE)).rejects.toMatchObject({ name: 'AccessDeniedException' });
  expect(asked()).toEqual([1, 0, 0]);
  expect((await decrypt(undefined)).servedBy?.region).toBe('eu-west-1');
});

it('a client of one Region names a multi-Region key by its replica there', async () => {
  const only = withFailover(regions[1], [], clock);
  await only.decrypt({ wrapped, masterKeyArn: MRK, encryptionContext: {} }, new AbortController().signal);
  expect(regions[1].calls[0]?.request).toMatchObject({ masterKeyArn: MRK.replace('us-east-1', 'eu-west-1') });
});

it('creates keys in the first Region, and closes all', async () => {
  await client.generateWrappedKey(
    { masterKeyId: 'alias/a', keySpec: 'AES_128', encryptionContext: {} },
    new AbortController().signal,
  );
  expect(asked()).toEqual([1, 0, 0]);
  client.close();
  expect(regions.map(({ isClosed }) => isClosed)).toEqual([true, true, true]);
});
