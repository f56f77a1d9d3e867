import { beforeEach, describe, expect, it } from 'vitest';
import { forEachBounded } from '../../../src/bounded.ts';
import { keyCheckValue } from '../../../src/bytes.ts';
import type { Counter } from '../../../src/format/messages.ts';
import type { LogLevel } from '../../../src/format/settings.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { createKmsLog } from '../../../src/keyring/kms-log.ts';
import { type UnwrappedKey, unwrapStoredKey } from '../../../src/keyring/unwrap.ts';
import type { UnwrapRequest } from '../../../src/kms/answers.ts';
import { KmsCaller } from '../../../src/kms/caller.ts';
import type { DecryptedKey, DecryptRequest } from '../../../src/kms/client.ts';
import { DOUBT_MS, HEDGE_AFTER_MS } from '../../../src/kms/failover.ts';
import { startDeadline } from '../../../src/kms/retry.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { dataKey, kmsError, MULTI_REGION_ARN, ScriptedKms, wrappedKey } from '../../support/scripted-kms.ts';

const SINGLE = 'arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
const wrapped = wrappedKey('a');
const known: UnwrapRequest = {
  wrapped,
  masterKeyArn: MULTI_REGION_ARN,
  keySpec: 'AES_128',
  keyCheckValue: keyCheckValue(dataKey(wrapped)),
  encryptionContext: {},
};

class RegionalKms extends ScriptedKms {
  override readonly region: string;

  constructor(region: string) {
    super();
    this.region = region;
  }
}

let clock: FakeClock;
let regions: [RegionalKms, RegionalKms, RegionalKms];
let caller: KmsCaller;
let level: LogLevel;
let lines: string[];
let counted: Counter[];

beforeEach(() => {
  clock = new FakeClock();
  regions = [new RegionalKms('us-east-1'), new RegionalKms('eu-west-1'), new RegionalKms('eu-central-1')];
  level = 'Off';
  lines = [];
  counted = [];
  const log = createKmsLog({
    logLevel: () => level,
    clock,
    log: (severity, text) => lines.push(`${severity}: ${text}`),
    count: (counter) => counted.push(counter),
  });
  caller = new KmsCaller(regions, clock, () => 0.5, log);
});

async function decrypt(changes: Partial<UnwrapRequest> = {}, seconds = 60): Promise<DecryptedKey> {
  const deadline = startDeadline(clock, seconds * 1000);
  const answer = caller.decrypt('key 1 version 1', { ...known, ...changes }, deadline);
  return await clock.runUntil(answer.finally(() => deadline.cancel()));
}

function fail(kms: RegionalKms, name: string, status = 400): void {
  kms.on = () => {
    throw kmsError(name, '', status);
  };
}

function hang(kms: RegionalKms): void {
  kms.on = () => new Promise(() => undefined);
}

function asked(): number[] {
  return regions.map(({ calls }) => calls.length);
}

function count(counter: Counter): number {
  return counted.filter((one) => one === counter).length;
}

const servedBy = (region: string, because: string): string =>
  `warning: AWS KMS Decrypt: key 1 version 1: served by ${region}: ${because}`;

describe('Decrypt of a key without a sidecar, with a context configured', () => {
  const name = { id: keyId(1), version: keyVersion(1) };
  const stored = { wrapped, sidecar: undefined, sidecarProblem: undefined, sidecarText: undefined };
  const unwrap = async (): Promise<UnwrappedKey> => {
    const deadline = startDeadline(clock, 60_000);
    const unwrapped = unwrapStoredKey(caller, { cluster: 'orders' }, name, stored, deadline);
    return await clock.runUntil(unwrapped.finally(() => deadline.cancel()));
  };

  it.each(['InternalFailure', 'DisabledException'])(
    'tries no context where a replica refuses the context, while the first Region says %s',
    async (failure) => {
      fail(regions[0], failure, failure === 'InternalFailure' ? 500 : 400);
      for (const region of regions.slice(1)) {
        region.on = (_, __, { encryptionContext }) => {
          if (Object.keys(encryptionContext).length > 0) throw kmsError('InvalidCiphertextException', '');
        };
      }
      expect(await unwrap()).toMatchObject({ servedBy: 'eu-west-1', encryptionContext: {} });
    },
  );

  it('comes back to the context when only a replica refused it, and the first Region recovers', async () => {
    for (const region of regions.slice(1)) fail(region, 'InvalidCiphertextException');
    regions[0].on = (_, call, { encryptionContext }) => {
      if (call < 3) throw kmsError('InternalFailure', '', 500);
      if (Object.keys(encryptionContext).length === 0) throw kmsError('InvalidCiphertextException', '');
    };
    const unwrapped = await unwrap();
    expect(unwrapped.servedBy).toBeUndefined();
    expect(unwrapped.encryptionContext).toMatchObject({ cluster: 'orders' });
  });
});

describe('Decrypt under a multi-Region master key', () => {
  it.each(['CERT_HAS_EXPIRED', 'EPROTO', 'OptInRequired'])(
    "asks the next Region after %s, which is the first one's own",
    async (name) => {
      fail(regions[0], name);
      expect((await decrypt()).servedBy).toBe('eu-west-1');
    },
  );

  it('does not count waiting for a turn as silence', async () => {
    regions[0].on = () => clock.sleep(400);
    const deadline = startDeadline(clock, 60_000);
    const keys = Array.from({ length: 32 }, (_, index) => caller.decrypt(`key ${index}`, known, deadline));
    const answers = await clock.runUntil(Promise.all(keys).finally(() => deadline.cancel()));
    expect(answers.filter(({ servedBy }) => servedBy !== undefined)).toEqual([]);
    expect(asked()).toEqual([32, 0, 0]);
  });

  it('avoids a Region for as long as its Retry-After says, and uses the others', async () => {
    const busy = (kms: RegionalKms, seconds: number): void => {
      kms.on = () => {
        throw Object.assign(kmsError('ThrottlingException', ''), {
          $response: { headers: { 'retry-after': String(seconds) } },
        });
      };
    };
    busy(regions[1], 20);
    busy(regions[2], 20);
    regions[0].on = (_, call) => {
      if (call < 6) throw kmsError('ThrottlingException', '');
    };
    await decrypt();
    expect(clock.monotonicMs()).toBeLessThan(20_000);
    expect(asked()).toEqual([6, 1, 1]);
  });

  it('uses the first Region only, while that answers', async () => {
    const answer = await decrypt();
    expect(answer.plaintext).toEqual(dataKey(wrapped));
    expect(answer.servedBy).toBeUndefined();
    expect(lines).toEqual([]);
    expect(asked()).toEqual([1, 0, 0]);
  });

  it.each([
    ['DisabledException', 'operatorErrors'],
    ['KMSInvalidStateException', 'operatorErrors'],
    ['AccessDeniedException', 'operatorErrors'],
    ['NotFoundException', 'operatorErrors'],
    ['ThrottlingException', 'transientErrors'],
    ['ECONNREFUSED', 'transientErrors'],
  ] as const)('asks the next Region at once after %s, naming the key by its replica there', async (name, counter) => {
    fail(regions[0], name);
    const answer = await decrypt();
    expect(answer).toMatchObject({ plaintext: dataKey(wrapped), servedBy: 'eu-west-1' });
    expect(lines).toEqual([servedBy('eu-west-1', `us-east-1: ${name} (request request-of-${name})`)]);
    expect(counted).toEqual(['decryptCalls', counter, 'decryptCalls']);
    expect(clock.monotonicMs()).toBe(0);
    const [request] = regions[1].calls.map(({ request: sent }) => sent as DecryptRequest);
    expect(request?.masterKeyArn).toBe(MULTI_REGION_ARN.replace('us-east-1', 'eu-west-1'));
  });

  it('logs the attempt in each Region as loudly as a retry', async () => {
    fail(regions[0], 'DisabledException');
    level = 'Warn';
    await decrypt();
    expect(lines).toContain(
      'warning: AWS KMS Decrypt: key 1 version 1: DisabledException (request request-of-DisabledException) (attempt 1 in us-east-1, 0 ms); going on with eu-west-1',
    );
    level = 'Trace';
    await decrypt();
    expect(lines).toContain(
      'note: AWS KMS Decrypt: key 1 version 1: succeeded (attempt 1 in eu-west-1, 0 ms, request decrypt, master key ' +
        `${MULTI_REGION_ARN.replace('us-east-1', 'eu-west-1')})`,
    );
  });

  it('asks the next Region beside a silent one, and takes the first answer', async () => {
    hang(regions[0]);
    await decrypt();
    expect(lines).toEqual([servedBy('eu-west-1', `us-east-1 did not answer within ${HEDGE_AFTER_MS} ms`)]);
    expect(counted).toEqual(['decryptCalls', 'decryptCalls', 'transientErrors']);
    expect(clock.monotonicMs()).toBe(HEDGE_AFTER_MS);
    expect(regions[0].inFlight).toBe(0);
  });

  it('waits for a silent Region once, not for each of many keys', async () => {
    hang(regions[0]);
    regions[1].on = () => clock.sleep(20);
    const deadline = startDeadline(clock, 60_000);
    const start = forEachBounded(Array.from({ length: 200 }), 32, async () => {
      await caller.decrypt('key 1 version 1', known, deadline);
    });
    await clock.runUntil(start.finally(() => deadline.cancel()));
    expect(clock.monotonicMs()).toBeLessThan(2 * HEDGE_AFTER_MS);
    regions[0].on = () => clock.sleep(30);
    await clock.advance(DOUBT_MS);
    const before = regions[1].calls.length;
    await decrypt();
    expect(regions[1].calls).toHaveLength(before);
  });

  it('accepts the answer of a slow first Region that comes first, and aborts the other', async () => {
    regions[0].on = () => clock.sleep(1500);
    regions[1].on = () => clock.sleep(5000);
    await decrypt();
    expect(lines).toEqual([]);
    expect(clock.monotonicMs()).toBe(1500);
    expect(asked()).toEqual([1, 1, 0]);
    expect(regions[1].inFlight).toBe(0);
    // A Region that was not needed does not count as failed.
    expect(counted).toEqual(['decryptCalls', 'decryptCalls']);
  });

  it('wipes unused data keys: simultaneous and late ones', async () => {
    const given: Buffer[] = [];
    const late = Promise.withResolvers<void>();
    const answers = (kms: RegionalKms, when: () => Promise<void>): void => {
      kms.decrypt = async ({ masterKeyArn = '' }) => {
        await when();
        const plaintext = dataKey(wrapped);
        given.push(plaintext);
        return { plaintext, masterKeyArn, requestId: '' };
      };
    };
    answers(regions[0], () => late.promise);
    const sameMoment = clock.sleep(5000);
    answers(regions[1], () => sameMoment);
    answers(regions[2], () => sameMoment);
    const { plaintext } = await decrypt();
    late.resolve();
    await clock.settle();
    expect(given).toHaveLength(3);
    expect(plaintext).toEqual(dataKey(wrapped));
    for (const other of given.filter((one) => one !== plaintext)) expect(other).toEqual(Buffer.alloc(16));
  });

  it('tries all Regions, fails with the first failure when all do, and names the others', async () => {
    fail(regions[0], 'DisabledException');
    fail(regions[1], 'AccessDeniedException');
    fail(regions[2], 'NotFoundException');
    await expectKeyError(
      decrypt(),
      'KMS_OPERATOR',
      /^key 1 version 1: KMS Decrypt failed: us-east-1: DisabledException \(request \S+\) \[eu-west-1: AccessDeniedException .*; eu-central-1: NotFoundException .*\]$/,
    );
    expect(asked()).toEqual([1, 1, 1]);
    expect(count('operatorErrors')).toBe(3);
  });

  it('repeats the round while any failure is transient', async () => {
    fail(regions[0], 'DisabledException');
    fail(regions[1], 'ThrottlingException');
    fail(regions[2], 'AccessDeniedException');
    await expectKeyError(
      decrypt({}, 1),
      'KMS_TRANSIENT',
      /failed after 4 attempts: eu-west-1: ThrottlingException .*\[us-east-1: DisabledException .*; eu-central-1: AccessDeniedException/,
    );
    expect(asked()).toEqual([4, 4, 4]);
  });

  it.each(['InvalidCiphertextException', 'OptInRequired', 'CERT_HAS_EXPIRED'])(
    'ignores another Region that says %s while the first is only slow',
    async (name) => {
      regions[0].on = () => clock.sleep(3000);
      fail(regions[1], name);
      fail(regions[2], name);
      const answer = await decrypt({ masterKeyArn: undefined });
      expect(answer.plaintext).toEqual(dataKey(wrapped));
      expect(lines).toEqual([]);
    },
  );

  it('fails as the first Region does, when that comes last', async () => {
    regions[0].on = async () => {
      await clock.sleep(3000);
      throw kmsError('DisabledException', '');
    };
    fail(regions[1], 'NotFoundException');
    fail(regions[2], 'NotFoundException');
    await expectKeyError(decrypt(), 'KMS_OPERATOR', /failed: us-east-1: DisabledException/);
  });

  it('waits for the last Region however long it takes', async () => {
    for (const region of regions.slice(0, 2)) fail(region as RegionalKms, 'DisabledException');
    regions[2].on = () => clock.sleep(8000);
    await decrypt();
    expect(lines[0]).toContain('served by eu-central-1: us-east-1: DisabledException');
  });

  it.each([
    ['InvalidCiphertextException', 'KMS_CORRUPT'],
    ['IncorrectKeyException', 'KMS_CORRUPT'],
    ['UnrecognizedClientException', 'KMS_OPERATOR'],
    ['ValidationException', 'KMS_OPERATOR'],
  ] as const)('tries no other Region after %s, which applies everywhere', async (name, code) => {
    fail(regions[0], name);
    await expectKeyError(decrypt(), code, new RegExp(`^key 1 version 1: KMS Decrypt failed: ${name} `));
    expect(asked()).toEqual([1, 0, 0]);
  });

  it('ends with the deadline', async () => {
    for (const region of regions) hang(region);
    await expectKeyError(decrypt({}, 5), 'TIMEOUT', /within 5 s: no answer came/);
    expect(asked()).toEqual([1, 1, 1]);
    expect(count('transientErrors')).toBe(3);
    expect(regions.map(({ inFlight }) => inFlight)).toEqual([0, 0, 0]);
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('throttling by the first Region', () => {
  it('lowers the calls in flight there, and only there', async () => {
    regions[0].on = async () => {
      await clock.sleep(50);
      throw kmsError('ThrottlingException', '');
    };
    regions[1].on = () => clock.sleep(50);
    const deadline = startDeadline(clock, 600_000);
    const many = async (): Promise<void> => {
      regions[0].mostInFlight = 0;
      regions[1].mostInFlight = 0;
      const keys = Array.from({ length: 32 }, () => caller.decrypt('key 1 version 1', known, deadline));
      await clock.runUntil(Promise.all(keys));
      await clock.advance(300);
    };
    for (let batch = 0; batch < 6; batch += 1) await many();
    expect(regions[0].mostInFlight).toBe(1);
    expect(regions[1].mostInFlight).toBeGreaterThan(4);
    expect(count('transientErrors')).toBeGreaterThan(10);
    deadline.cancel();
  });
});

describe('a wrong answer of one Region', () => {
  const spoilt: readonly (readonly [string, (answer: DecryptedKey) => DecryptedKey, string])[] = [
    [
      'another KeyId',
      (answer) => ({ ...answer, masterKeyArn: SINGLE }),
      `"KeyId" expected ${MULTI_REGION_ARN}, got ${SINGLE} (request decrypt)`,
    ],
    [
      'another length',
      (answer) => ({ ...answer, plaintext: Buffer.alloc(32, 7) }),
      '"data key" expected 16 bytes for AES_128, got 32 (request decrypt)',
    ],
    [
      'another data key',
      (answer) => ({ ...answer, plaintext: Buffer.alloc(16, 7) }),
      'the data key is not the one that was made: its key check value differs (request decrypt)',
    ],
  ];

  it.each(spoilt)('(%s) is refused, logged as an error, and the next Region serves', async (_, spoil, problem) => {
    let refused: Buffer | undefined;
    regions[0].answer = (answer) => {
      const wrong = spoil(answer);
      refused = wrong.plaintext;
      return wrong;
    };
    expect((await decrypt()).plaintext).toEqual(dataKey(wrapped));
    expect(refused?.every((byte) => byte === 0)).toBe(true);
    expect(lines).toEqual([
      `error: AWS KMS Decrypt: key 1 version 1: WrongAnswer: ${problem} (attempt 1 in us-east-1, 0 ms); going on with eu-west-1`,
      servedBy('eu-west-1', `us-east-1: WrongAnswer: ${problem}`),
    ]);
    expect(count('otherErrors')).toBe(1);
  });

  it.each(spoilt)('(%s) of a failover Region names that Region', async (_, spoil, problem) => {
    fail(regions[0], 'DisabledException');
    regions[1].answer = spoil;
    expect((await decrypt()).plaintext).toEqual(dataKey(wrapped));
    expect(lines[0]).toContain(`WrongAnswer: ${problem} (attempt 1 in eu-west-1, 0 ms); going on with eu-central-1`);
    fail(regions[2], 'AccessDeniedException');
    const error = await expectKeyError(decrypt(), 'KMS_OPERATOR', /failed: us-east-1: DisabledException/);
    expect(error.message).toContain(`[eu-west-1: WrongAnswer: ${problem}; eu-central-1: AccessDenied`);
  });

  it('is the final failure, when every Region answers so', async () => {
    for (const region of regions) region.answer = (answer) => ({ ...answer, plaintext: Buffer.alloc(16, 7) });
    await expectKeyError(
      decrypt(),
      'KMS_BAD_ANSWER',
      /^key 1 version 1: KMS in us-east-1 answered wrongly: the data key is not the one that was made.*\[eu-west-1: WrongAnswer.*; eu-central-1: WrongAnswer/,
    );
  });
});

it('a key without replicas is requested in its Region only, one without a sidecar everywhere', async () => {
  fail(regions[0], 'AccessDeniedException');
  await expectKeyError(decrypt({ masterKeyArn: SINGLE }), 'KMS_OPERATOR', /failed: AccessDeniedException/);
  expect(asked()).toEqual([1, 0, 0]);
  await decrypt({ masterKeyArn: undefined });
  expect(lines[0]).toContain('served by eu-west-1');
});

it('new keys are created in the first Region', async () => {
  const request = { masterKeyId: 'alias/a', keySpec: 'AES_128', encryptionContext: {} } as const;
  fail(regions[0], 'DisabledException');
  const deadline = startDeadline(clock, 1000);
  await expectKeyError(caller.generate('key 1 version 1', request, deadline), 'KMS_OPERATOR', /DisabledException/);
  expect(asked()).toEqual([1, 0, 0]);
});
