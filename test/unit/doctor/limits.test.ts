import { beforeEach, expect, it } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import type { Clock } from '../../../src/clock.ts';
import { newPatient, plainFiles } from './patient.ts';

const CHECK_MS = 10_500;
const FASTER = 20;

/** A clock whose limits expire only after a check hangs, so that a busy machine does not trigger them. */
class LimitsOfOne implements Clock {
  readonly wallMs = systemClock.wallMs;
  readonly monotonicMs = systemClock.monotonicMs;
  readonly sleep = systemClock.sleep;
  /** Every limit that was set. */
  readonly limits: number[] = [];
  #pending = new Set<() => void>();

  after(ms: number, callBack: () => void): () => void {
    this.limits.push(ms);
    let callOff = (): void => undefined;
    const start = (): void => {
      callOff = systemClock.after(ms / FASTER, callBack);
    };
    // The limit of all checks together also applies to the checks after this one.
    if (ms <= CHECK_MS) this.#pending.add(start);
    return () => {
      this.#pending.delete(start);
      callOff();
    };
  }

  /** Never ends. */
  readonly hang = (): Promise<never> => {
    for (const start of this.#pending) start();
    return new Promise(() => undefined);
  };
}

let clock: LimitsOfOne;
beforeEach(() => {
  clock = new LimitsOfOne();
});

it('the doctor continues when a check gets no answer', async () => {
  const patient = await newPatient({ surroundings: { clock } });
  patient.spoil = (kms) => ({ ...kms, describeKey: clock.hang });
  const { problems, lines } = await patient.examine();
  expect(problems).toMatchInlineSnapshot(`
    "failure  master-key: no result within 10 s
             find out what hangs: the network, a credential source, or a file system
    exit 1"
  `);
  expect(lines).toContain('ok       permissions: may Decrypt with MASTER-KEY');
});

it('whoever asks the doctor may set its limits', async () => {
  const patient = await newPatient({ surroundings: { clock } });
  patient.spoil = (kms) => ({ ...kms, describeKey: clock.hang });
  const { problems } = await patient.examine({}, { checkMs: 7_000, allMs: 60_000 });
  expect(problems).toContain('failure  master-key: no result within 7 s\n');
});

it('the doctor does not wait for a hanging file system', async () => {
  const files = { ...plainFiles, keyDirectory: { ...plainFiles.keyDirectory, readdir: clock.hang } };
  const patient = await newPatient({ surroundings: { clock, files } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-directory: no result within 10 s
             find out what hangs: the network, a credential source, or a file system
    warning  option-files: the service that starts the server is unknown (not read within 3 s), and what it gives the server
             run this as root, and look at: systemctl cat mariadb.service
    exit 1"
  `);
});

it('the doctor reports how far unwrapping came when its time is up', async () => {
  const patient = await newPatient({ surroundings: { clock }, request: { deep: true } });
  let calls = 0;
  const hanging = async (signal: AbortSignal): Promise<never> =>
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
  patient.spoil = (kms) => ({
    ...kms,
    decrypt: async (...request) => {
      calls += 1;
      if (calls > 1) return await hanging(request[1]);
      const answer = await kms.decrypt(...request);
      setTimeout(() => void clock.hang(), 0);
      return answer;
    },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  unwrap: 1 of 3 key versions unwrap; key 1 version 2, key 2 version 1: KMS Decrypt did not succeed within 9 s: no answer came
             check that the server can reach the KMS endpoint, and that its credential source answers
    exit 1"
  `);
});

it('unwrapping ends with the first version that gets no answer, and the versions not tried are a gap', async () => {
  const keys = Array.from({ length: 20 }, (_, index) => `1.${index + 1}`);
  const patient = await newPatient({ surroundings: { clock }, request: { deep: true }, keys });
  let calls = 0;
  const hanging = async (signal: AbortSignal): Promise<never> =>
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
  patient.spoil = (kms) => ({
    ...kms,
    decrypt: async (...request) => {
      calls += 1;
      // The first answer makes room for one call more than the four to begin with.
      if (calls === 6) setTimeout(() => void clock.hang(), 0);
      return await (calls > 1 ? hanging(request[1]) : kms.decrypt(...request));
    },
  });
  const { lines, problems } = await patient.examine();
  expect(problems).toMatch(/^failure {2}unwrap: 1 of 20 key versions unwrap; key 1 versions .*: no answer came$/m);
  expect(problems).not.toContain('start_timeout');
  expect(lines).toContain('skipped  unwrap: there was no time for 3 of 20 key versions');
});

it('unwrapping has more time the more key versions there are', async () => {
  const keys = Array.from({ length: 150 }, (_, index) => `1.${index + 1}`);
  const patient = await newPatient({ surroundings: { clock }, request: { deep: true }, keys });
  const { lines } = await patient.examine();
  expect(lines).toContain('ok       unwrap: 150 of 150 key versions unwrap');
  expect(clock.limits).toEqual(expect.arrayContaining([15_000, 16_000]));
});
