import { expect, it } from 'vitest';
import { becomeServerUser } from '../../src/cli/server-user.ts';
import { expectKeyError } from '../support/expect-error.ts';

function rootProcess(env: NodeJS.ProcessEnv) {
  const calls: string[] = [];
  return {
    env,
    calls,
    setgroups: (groups: readonly (string | number)[]) => calls.push(`setgroups ${groups.join()}`),
    setgid: (id: string | number) => calls.push(`setgid ${id}`),
    setuid: (id: string | number) => calls.push(`setuid ${id}`),
  };
}

it('gives up groups, group and user, in the one order that works, and forgets that it was asked', () => {
  const process = rootProcess({ AKM_BECOME: '34:35', HOME: '/x' });
  becomeServerUser(process);
  expect(process.calls).toEqual(['setgroups ', 'setgid 35', 'setuid 34']);
  expect(process.env).toEqual({ HOME: '/x' });
});

it('stays who it is when nobody asks', () => {
  const process = rootProcess({});
  becomeServerUser(process);
  expect(process.calls).toEqual([]);
});

it.each(['', '34', 'root:root', '34:35:36', '-1:0'])('refuses %j rather than stay root', async (AKM_BECOME) => {
  const process = rootProcess({ AKM_BECOME });
  await expectKeyError(
    () => becomeServerUser(process),
    'BAD_OPTION',
    `AKM_BECOME: expected user and group id, got "${AKM_BECOME}"`,
  );
  expect(process.calls).toEqual([]);
});
