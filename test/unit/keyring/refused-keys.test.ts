import { expect, it } from 'vitest';
import { KeyError } from '../../../src/errors.ts';
import { keyId, keyVersion } from '../../../src/ids.ts';
import { RefusedKeys } from '../../../src/keyring/refused-keys.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const NAME = { id: keyId(1), version: keyVersion(1) };
const STORED = {
  wrapped: Buffer.from('wrapped'),
  sidecar: undefined,
  sidecarText: undefined,
  sidecarProblem: undefined,
  mismatch: undefined,
};
const WRONG_ANSWER = new KeyError('KMS_BAD_ANSWER', 'KMS answered wrongly');

it.each([
  ['a refusal of the bytes is remembered for an hour', new KeyError('KMS_CORRUPT', 'refused'), 3_600_000],
  [
    'a wrong answer about bytes that the sidecar does not describe is remembered for five minutes',
    new KeyError('KEY_FILE_CORRUPT', 'another data key', { cause: WRONG_ANSWER }),
    300_000,
  ],
  ['a wrong answer about other bytes is not remembered', WRONG_ANSWER, 0],
  ['a refusal of the identity is not remembered', new KeyError('KMS_OPERATOR', 'denied'), 0],
])('%s', async (_, error, ms) => {
  const clock = new FakeClock();
  const refused = new RefusedKeys(clock);
  const ask = (): void => refused.assertNone(NAME, STORED, {});
  refused.note(NAME, STORED, {}, error);
  if (ms > 0) {
    await clock.advance(ms - 1);
    expect(ask).toThrow(error);
    await clock.advance(1);
  }
  expect(ask).not.toThrow();
});
