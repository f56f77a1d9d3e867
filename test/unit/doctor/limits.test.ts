import { expect, it } from 'vitest';
import { systemClock } from '../../../src/cli/system.ts';
import { newPatient, plainFiles } from './patient.ts';

const FASTER = 15;
/** Every limit of the doctor comes so much sooner. */
const clock = { ...systemClock, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / FASTER, signal) };
const never = (): Promise<never> => new Promise(() => undefined);

it('goes on when a check gets no answer', async () => {
  const patient = await newPatient({ surroundings: { clock } });
  patient.spoil = (kms) => ({ ...kms, describeKey: never });
  const { problems, lines } = await patient.examine();
  expect(problems).toMatchInlineSnapshot(`
    "failure  master-key: no result within 10 s
             find out what hangs: the network, a credential source, or a file system
    exit 1"
  `);
  expect(lines).toContain('ok       permissions: may Decrypt with MASTER-KEY');
});

it('does not wait for a file system that hangs', async () => {
  const files = { ...plainFiles, keyDirectory: { ...plainFiles.keyDirectory, readdir: never } };
  const patient = await newPatient({ surroundings: { clock, files } });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  key-directory: no result within 10 s
             find out what hangs: the network, a credential source, or a file system
    exit 1"
  `);
});

it('says how far unwrapping came when the time is up', async () => {
  const patient = await newPatient({ surroundings: { clock }, request: { deep: true } });
  let calls = 0;
  patient.spoil = (kms) => ({
    ...kms,
    decrypt: async (...request) => {
      calls += 1;
      if (calls > 1) await systemClock.sleep(3_600_000, request[3]);
      return await kms.decrypt(...request);
    },
  });
  expect((await patient.examine()).problems).toMatchInlineSnapshot(`
    "failure  unwrap: 1 of 3 key versions unwrap; key 1 version 2, key 2 version 1: KMS Decrypt did not succeed within 9 s: no answer came
             check that the server can reach the KMS endpoint, and that its credential source answers
    exit 1"
  `);
});
