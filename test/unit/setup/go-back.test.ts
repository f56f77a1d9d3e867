import { expect, it } from 'vitest';
import { KeyError } from '../../../src/errors.ts';
import { goBack } from '../../../src/setup/go-back.ts';

it('the way back is gone to its end, and every step is told', async () => {
  const thrown = new KeyError('SETUP_FAILED', 'it does not start', { hint: 'look at the log' });
  const { code, message, hint } = await goBack(thrown, [
    async () => '',
    async () => await Promise.reject(new KeyError('SETUP_FAILED', '/a was not removed: EROFS')),
    async (signal) => (signal.aborted ? 'too late' : 'the server runs as before'),
  ]);
  expect({ code, message, hint }).toEqual({
    code: 'SETUP_FAILED',
    message: 'it does not start; then: /a was not removed: EROFS; the server runs as before',
    hint: 'look at the log',
  });
});
