import { beforeEach, describe, expect, it } from 'vitest';
import { forEachBounded } from '../../../src/bounded.ts';
import { keyCheckValue } from '../../../src/bytes.ts';
import type { UnwrapRequest } from '../../../src/kms/answers.ts';
import { KmsCaller, START_SPREAD_MS } from '../../../src/kms/caller.ts';
import { type GenerateRequest, MOST_CALLS_AT_ONCE } from '../../../src/kms/client.ts';
import type { AttemptOutcome } from '../../../src/kms/observer.ts';
import { type Deadline, startDeadline } from '../../../src/kms/retry.ts';
import { expectKeyError } from '../../support/expect-error.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { dataKey, kmsError, MASTER_KEY_ARN, ScriptedKms, wrappedKey } from '../../support/scripted-kms.ts';

let clock: FakeClock;
let kms: ScriptedKms;
let outcomes: AttemptOutcome[];
let caller: KmsCaller;
const wrapped = wrappedKey('a');
const known: UnwrapRequest = {
  wrapped,
  masterKeyArn: undefined,
  keySpec: undefined,
  keyCheckValue: undefined,
  encryptionContext: {},
};
const generate: GenerateRequest = { masterKeyId: 'alias/a', keySpec: 'AES_128', encryptionContext: {} };

beforeEach(() => {
  clock = new FakeClock();
  kms = new ScriptedKms();
  outcomes = [];
  caller = new KmsCaller([kms], clock, () => 0.5, {
    attemptStarted: () => undefined,
    attemptEnded: (_, __, outcome) => outcomes.push(outcome),
  });
});

function decrypt(seconds = 60, masterKeyArn: string | undefined = undefined): Promise<unknown> {
  const deadline = startDeadline(clock, seconds * 1000);
  return clock.runUntil(
    caller.decrypt('key 1 version 1', { ...known, masterKeyArn }, deadline).finally(() => deadline.cancel()),
  );
}

describe('a KMS call', () => {
  it('is retried with growing, jittered pauses while the failure is transient', async () => {
    kms.on = (_, call) => {
      if (call < 8) throw kmsError('ThrottlingException');
    };
    await decrypt();
    expect(kms.calls).toHaveLength(8);
    const pauses = outcomes.map((outcome) => (outcome.ok ? 'ok' : outcome.retryInMs));
    expect(pauses).toEqual([100, 200, 400, 800, 1600, 2500, 2500, 'ok']);
  });

  it("is not retried when an operator must act, and reports KMS's message", async () => {
    kms.on = () => {
      throw kmsError('DisabledException', `${MASTER_KEY_ARN} is disabled.`);
    };
    const error = await expectKeyError(
      decrypt(),
      'KMS_OPERATOR',
      `key 1 version 1: KMS Decrypt failed: DisabledException: ${MASTER_KEY_ARN} is disabled. (request request-of-DisabledException)`,
    );
    expect(error.hint).toContain('aws kms enable-key');
    expect(kms.calls).toHaveLength(1);
  });

  it('is retried for ten seconds when credentials fail', async () => {
    kms.on = () => {
      throw kmsError('CredentialsProviderError', 'Could not load credentials from any providers');
    };
    await expectKeyError(
      decrypt(),
      'KMS_OPERATOR',
      /^key 1 version 1: KMS Decrypt failed after 8 attempts: CredentialsProviderError/,
    );
    expect(clock.monotonicMs()).toBeLessThanOrEqual(10_000);
  });

  it('ends at the deadline with the last failure', async () => {
    kms.on = () => {
      throw kmsError('KMSInternalException', '', 500);
    };
    await expectKeyError(
      decrypt(3),
      'KMS_TRANSIENT',
      /^key 1 version 1: KMS Decrypt failed after 5 attempts: KMSInternalException/,
    );
    expect(clock.monotonicMs()).toBeLessThan(3000);
  });

  it('that is never answered ends at the deadline', async () => {
    kms.on = () => new Promise(() => undefined);
    await expectKeyError(
      decrypt(3),
      'TIMEOUT',
      'key 1 version 1: KMS Decrypt did not succeed within 3 s: no answer came',
    );
    expect(clock.monotonicMs()).toBe(3000);
  });

  it('that is never answered after a failure names that failure', async () => {
    kms.on = (_, call) => {
      if (call === 1) throw kmsError('ECONNRESET', 'socket hang up', 0);
      return new Promise(() => undefined);
    };
    await expectKeyError(decrypt(3), 'TIMEOUT', /within 3 s: the last failure was ECONNRESET: socket hang up/);
  });
});

describe('the room for keys', () => {
  it('grows with each answer, and has no limit but the highest where there are more Regions', async () => {
    const before = caller.room.most;
    await decrypt();
    expect(caller.room.most).toBe(before + 1);
    const silent = { attemptStarted: () => undefined, attemptEnded: () => undefined };
    const two = new KmsCaller([kms, new ScriptedKms()], clock, () => 0.5, silent);
    expect(two.room.most).toBe(MOST_CALLS_AT_ONCE);
  });

  it('is not taken by keys that wait for another attempt', async () => {
    const failing = wrappedKey('b');
    kms.on = (_, __, request) => {
      if ('wrapped' in request && failing.equals(request.wrapped)) throw kmsError('KMSInternalException', '', 500);
    };
    const deadline = startDeadline(clock, 3_000);
    const servedMs: number[] = [];
    // More keys that always fail than calls that are made at once in the beginning.
    const keys = [...Array.from({ length: 10 }, () => failing), wrapped, wrapped];
    const all = forEachBounded(keys, caller.room, async (key) => {
      await caller.decrypt('key', { ...known, wrapped: key }, deadline).then(
        () => servedMs.push(clock.monotonicMs()),
        () => undefined,
      );
    });
    await clock.runUntil(all);
    deadline.cancel();
    expect(servedMs).toEqual([0, 0]);
  });
});

describe('an answer of KMS', () => {
  it.each([0, 1, 15, 17, 31, 33])('with a data key of %d bytes is refused and wiped', async (length) => {
    const plaintext = Buffer.alloc(length, 7);
    kms.answer = (answer) => ({ ...answer, plaintext });
    await expectKeyError(
      decrypt(),
      'KMS_BAD_ANSWER',
      `key 1 version 1: KMS in us-east-1 answered wrongly: "data key" expected 16, 24 or 32 bytes, got ${length} (request decrypt)`,
    );
    expect(plaintext.every((byte) => byte === 0)).toBe(true);
  });

  it('from another master key than the one named is refused and wiped', async () => {
    const plaintext = Buffer.alloc(16, 7);
    kms.answer = (answer) => ({ ...answer, plaintext, masterKeyArn: 'arn:aws:kms:other' });
    await expectKeyError(
      decrypt(60, MASTER_KEY_ARN),
      'KMS_BAD_ANSWER',
      `key 1 version 1: KMS in us-east-1 answered wrongly: "KeyId" expected ${MASTER_KEY_ARN}, got arn:aws:kms:other (request decrypt)`,
    );
    expect(plaintext.every((byte) => byte === 0)).toBe(true);
  });

  it('shorter than the KeySpec it was made with is refused', async () => {
    const deadline = startDeadline(clock, 1000);
    await expectKeyError(
      caller.decrypt('key 1 version 1', { ...known, keySpec: 'AES_256' }, deadline),
      'KMS_BAD_ANSWER',
      'key 1 version 1: KMS in us-east-1 answered wrongly: "data key" expected 32 bytes for AES_256, got 16 (request decrypt)',
    );
  });

  it.each([0, 6145])('with a wrapped key of %d bytes is refused', async (length) => {
    kms.generateWrappedKey = async () => ({
      wrapped: Buffer.alloc(length),
      masterKeyArn: MASTER_KEY_ARN,
      requestId: '',
    });
    await expectKeyError(
      caller.generate('key 1 version 1', generate, startDeadline(clock, 1000)),
      'KMS_BAD_ANSWER',
      `key 1 version 1: KMS in us-east-1 answered wrongly: "CiphertextBlob" expected 1 to 6144 bytes, got ${length}`,
    );
  });

  it('without a master key ARN is refused', async () => {
    kms.generateWrappedKey = async () => ({ wrapped, masterKeyArn: 'alias/a', requestId: '' });
    await expectKeyError(
      caller.generate('key 1 version 1', generate, startDeadline(clock, 1000)),
      'KMS_BAD_ANSWER',
      'key 1 version 1: KMS in us-east-1 answered wrongly: "KeyId" is not an ARN',
    );
  });
});

describe('many calls under one deadline', () => {
  it('wait ten seconds together for credentials, not each', async () => {
    kms.on = () => {
      throw kmsError('CredentialsProviderError', 'none');
    };
    const deadline = startDeadline(clock, 60_000);
    for (let i = 0; i < 5; i += 1) {
      const request = known;
      await expectKeyError(
        clock.runUntil(caller.decrypt('key 1 version 1', request, deadline)),
        'KMS_OPERATOR',
        /CredentialsProviderError: none/,
      );
    }
    expect(clock.monotonicMs()).toBeLessThanOrEqual(10_000);
  });

  it('that come when the time is used up report that they were not tried', async () => {
    const deadline = startDeadline(clock, 1000);
    await clock.advance(2000);
    await expectKeyError(
      caller.generate('key 1 version 1', generate, deadline),
      'TIMEOUT',
      'key 1 version 1: KMS GenerateDataKeyWithoutPlaintext was not tried: the 1 s allowed were used up before',
    );
    expect(kms.calls).toEqual([]);
  });
});

describe('a call that ignores the deadline', () => {
  it('is abandoned at the deadline, and a late data key is wiped', async () => {
    const late = Promise.withResolvers<void>();
    const plaintext = Buffer.alloc(16, 7);
    kms.decrypt = async () => {
      await late.promise;
      return { plaintext, masterKeyArn: MASTER_KEY_ARN, requestId: 'late' };
    };
    await expectKeyError(
      decrypt(4),
      'TIMEOUT',
      'key 1 version 1: KMS Decrypt did not succeed within 4 s: no answer came',
    );
    late.resolve();
    await clock.settle();
    expect(plaintext.every((byte) => byte === 0)).toBe(true);
  });

  it('leaves no timer and no listener behind', async () => {
    const parent = new AbortController();
    const deadline = startDeadline(clock, 1000, parent.signal);
    await clock.runUntil(caller.generate('key 1 version 1', generate, deadline));
    deadline.cancel();
    await clock.settle();
    expect(clock.pendingTimers).toBe(0);
    parent.abort(new Error('gone'));
    expect(deadline.signal.aborted).toBe(false);
  });

  it('ends with its parent', async () => {
    const parent = new AbortController();
    const deadline = startDeadline(clock, 1000, parent.signal);
    parent.abort(new Error('gone'));
    expect(deadline.signal.reason).toEqual(new Error('gone'));
    expect(startDeadline(clock, 1000, parent.signal).signal.aborted).toBe(true);
  });
});

describe('a multi-Region master key', () => {
  const here = 'arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab';
  const there = here.replace('us-east-1', 'eu-west-1');

  it('may be answered from another Region, another key may not', async () => {
    kms.answer = (answer) => ({ ...answer, masterKeyArn: there });
    await decrypt(60, here);
    kms.answer = (answer) => ({ ...answer, masterKeyArn: there.replace('ab34', 'ab35') });
    await expectKeyError(decrypt(60, here), 'KMS_BAD_ANSWER', /"KeyId" expected arn:aws:kms:us-east-1/);
  });
});

describe('a data key', () => {
  it('other than the one that was created is refused and wiped', async () => {
    const plaintext = Buffer.alloc(16, 7);
    const right = { ...known, keyCheckValue: keyCheckValue(dataKey(wrapped)) };
    const deadline = startDeadline(clock, 1000);
    await caller.decrypt('key 1 version 1', right, deadline);
    kms.answer = (answer) => ({ ...answer, plaintext });
    await expectKeyError(
      caller.decrypt('key 1 version 1', right, deadline),
      'KMS_BAD_ANSWER',
      'key 1 version 1: KMS in us-east-1 answered wrongly: the data key is not the one that was made: its key check value differs (request decrypt)',
    );
    expect(plaintext.every((byte) => byte === 0)).toBe(true);
  });
});

describe('throttling', () => {
  const together = (count: number): Promise<unknown> => {
    const deadline = startDeadline(clock, 600_000);
    const calls = Array.from({ length: count }, () => caller.decrypt('key 1 version 1', known, deadline));
    return Promise.all(calls).finally(() => deadline.cancel());
  };
  const many = (count: number): Promise<unknown> => clock.runUntil(together(count));

  it('lowers the number of concurrent calls, and success raises it again', async () => {
    let throttling = true;
    kms.on = async () => {
      await clock.sleep(50);
      if (throttling) throw kmsError('ThrottlingException');
    };
    const inFlight: number[] = [];
    const deadline = startDeadline(clock, 600_000);
    const calls = Array.from({ length: 200 }, () => caller.decrypt('key 1 version 1', known, deadline));
    for (let i = 0; i < 20; i += 1) {
      await clock.advance(300);
      inFlight.push(kms.inFlight);
    }
    expect(kms.mostInFlight).toBe(4);
    expect(Math.max(...inFlight.slice(-5))).toBeLessThanOrEqual(1);
    throttling = false;
    kms.mostInFlight = 0;
    await clock.runUntil(Promise.all(calls));
    await many(2000);
    expect(kms.mostInFlight).toBeGreaterThan(60);
  });

  it('does not start with all calls at once, and reaches the maximum after a few round trips', async () => {
    const inFlight: number[] = [];
    kms.on = () => clock.sleep(50);
    const calls = together(600);
    for (let round = 0; round < 7; round += 1) {
      await clock.settle();
      inFlight.push(kms.inFlight);
      await clock.advance(50);
    }
    await clock.runUntil(calls);
    expect(inFlight).toEqual([4, 8, 16, 32, 64, 128, 128]);
  });

  it('grows slowly again after the first sign', async () => {
    kms.on = (_, call) => {
      if (call === 1) throw kmsError('ThrottlingException');
    };
    await decrypt();
    kms.on = () => clock.sleep(50);
    const calls = together(20);
    const inFlight: number[] = [];
    for (let round = 0; round < 4; round += 1) {
      await clock.settle();
      inFlight.push(kms.inFlight);
      await clock.advance(50);
    }
    await clock.runUntil(calls);
    expect(inFlight).toEqual([2, 3, 4, 5]);
  });

  it("with a Retry-After date is obeyed by the sender's clock", async () => {
    const GMT = (ms: number): string => new Date(ms).toUTCString();
    const theirMs = clock.wallMs() - 40 * 86_400_000;
    const headers: readonly Record<string, string>[] = [
      { date: GMT(theirMs), 'retry-after': GMT(theirMs + 9000) },
      { 'retry-after': GMT(clock.wallMs() + 20_000) },
      { date: GMT(theirMs), 'retry-after': GMT(theirMs + 86_400_000) },
    ];
    kms.on = (_, call) => {
      const sent = headers[call - 1];
      if (sent !== undefined) throw Object.assign(kmsError('ThrottlingException'), { $response: { headers: sent } });
    };
    await decrypt(120);
    const pauses = outcomes.map((outcome) => (outcome.ok ? 'ok' : outcome.retryInMs));
    expect(pauses).toEqual([9000, 20_000 - 9000, 30_000, 'ok']);
  });

  it('with a Retry-After is obeyed, up to half a minute', async () => {
    const throttled = (seconds: string): Error =>
      Object.assign(kmsError('ThrottlingException'), { $response: { headers: { 'retry-after': seconds } } });
    kms.on = (_, call) => {
      if (call === 1) throw throttled('7');
      if (call === 2) throw throttled('86400');
    };
    await decrypt(120);
    const pauses = outcomes.map((outcome) => (outcome.ok ? 'ok' : outcome.retryInMs));
    expect(pauses).toEqual([7000, 30_000, 'ok']);
  });

  it('delays no call beyond its own deadline', async () => {
    kms.on = () => new Promise(() => undefined);
    const long = startDeadline(clock, 60_000);
    const stuck = Array.from({ length: 128 }, () =>
      caller.decrypt('key 1 version 1', known, long).catch(() => undefined),
    );
    await clock.settle();
    await expectKeyError(decrypt(2), 'TIMEOUT', /within 2 s/);
    long.cancel();
    expect(stuck).toHaveLength(128);
  });
});

describe('many callers that start at the same moment', () => {
  /** Each process has a generator with its own seed. */
  const randomOf = (seed: number) => (): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed / 2 ** 31;
  };
  const firstCallMs = async (count: number, act: (kms: KmsCaller) => Promise<unknown>): Promise<number[]> => {
    const times: number[] = [];
    const client = new ScriptedKms();
    client.on = () => void times.push(clock.monotonicMs());
    const observer = { attemptStarted: () => undefined, attemptEnded: () => undefined };
    const acts = Array.from({ length: count }, (_, i) =>
      act(new KmsCaller([client], clock, randomOf(i * 7919), observer, START_SPREAD_MS)),
    );
    await clock.runUntil(Promise.all(acts));
    return times;
  };

  it.each<[string, (kms: KmsCaller, deadline: Deadline) => Promise<unknown>]>([
    ['generate', (caller, deadline) => caller.generate('key 1 version 1', generate, deadline)],
    ['decrypt', (caller, deadline) => caller.decrypt('key 1 version 1', known, deadline)],
    ['probe', (caller, deadline) => caller.probe('key 1 version 1', known, deadline)],
  ])('make their first calls at different moments: %s', async (_, act) => {
    const times = await firstCallMs(100, (caller) => act(caller, startDeadline(clock, 60_000)));
    expect(times).toHaveLength(100);
    expect(new Set(times).size).toBe(100);
    const perTenth = Array.from({ length: 10 }, (_tenth, i) => times.filter((ms) => Math.floor(ms / 10) === i).length);
    for (const count of perTenth) expect(count).toBeGreaterThan(0);
    expect(Math.max(...perTenth)).toBeLessThan(25);
  });

  it('wait once for all calls of one caller, and no longer than its deadline', async () => {
    const startedMs = clock.monotonicMs();
    const times = await firstCallMs(1, async (caller) => {
      const deadline = startDeadline(clock, 60_000);
      await Promise.all([1, 2, 3].map(() => caller.decrypt('key 1 version 1', known, deadline)));
      await caller.decrypt('key 1 version 1', known, deadline);
    });
    expect(new Set(times).size).toBe(1);
    expect(times).toHaveLength(4);
    expect(clock.monotonicMs() - startedMs).toBeLessThan(START_SPREAD_MS);
    const patient = new KmsCaller(
      [kms],
      clock,
      () => 0.99,
      { attemptStarted: () => undefined, attemptEnded: () => undefined },
      START_SPREAD_MS,
    );
    const deadline = startDeadline(clock, 20);
    await expectKeyError(
      clock.runUntil(patient.decrypt('key 1 version 1', known, deadline)),
      'TIMEOUT',
      /was not tried/,
    );
    expect(kms.calls).toEqual([]);
  });

  it('have credentials and connection prepared meanwhile, once', async () => {
    const observer = { attemptStarted: () => undefined, attemptEnded: () => undefined };
    const preparedMs: number[] = [];
    const client = Object.assign(new ScriptedKms(), { prepare: () => void preparedMs.push(clock.monotonicMs()) });
    const deadline = startDeadline(clock, 60_000);
    const startedMs = clock.monotonicMs();
    const spread = new KmsCaller([client], clock, () => 0.5, observer, START_SPREAD_MS);
    const calls = [1, 2].map(() => spread.decrypt('key 1 version 1', known, deadline));
    await clock.runUntil(Promise.all(calls));
    await clock.runUntil(spread.decrypt('key 1 version 1', known, deadline));
    expect(preparedMs).toEqual([startedMs]);
    await clock.runUntil(new KmsCaller([client], clock, () => 0.5, observer).decrypt('key 1', known, deadline));
    expect(preparedMs).toHaveLength(1);
    deadline.cancel();
  });
});
