import { expect, it } from 'vitest';
import { becomeServerUser, becomeUser } from '../../../src/cli/server-user.ts';
import { expectKeyError } from '../../support/expect-error.ts';

function rootProcess(env: NodeJS.ProcessEnv) {
  const calls: string[] = [];
  return {
    env,
    calls,
    setgroups: (groups: readonly (string | number)[]) => calls.push(`setgroups ${groups.join()}`),
    setgid: (id: string | number) => calls.push(`setgid ${id}`),
    setuid: (id: string | number) => calls.push(`setuid ${id}`),
    seteuid: (id: string | number) => calls.push(`seteuid ${id}`),
    initgroups: (user: string | number, group: string | number) => calls.push(`initgroups ${user} ${group}`),
  };
}

it('an agent of root gives up groups, group and user, in the only order that works, and clears the variable', () => {
  const process = rootProcess({ AKM_BECOME: '34:35', HOME: '/x' });
  becomeServerUser(process);
  expect(process.calls).toEqual(['setgroups ', 'setgid 35', 'setuid 34']);
  expect(process.env).toEqual({ HOME: '/x' });
});

it('an agent without the variable keeps its user', () => {
  const process = rootProcess({});
  becomeServerUser(process);
  expect(process.calls).toEqual([]);
});

it.each(['', '34', 'root:root', '34:35:36', '-1:0'])(
  'an agent refuses %j rather than stay root',
  async (AKM_BECOME) => {
    const process = rootProcess({ AKM_BECOME });
    await expectKeyError(
      () => becomeServerUser(process),
      'BAD_OPTION',
      `AKM_BECOME: expected user and group id, got "${AKM_BECOME}"`,
    );
    expect(process.calls).toEqual([]);
  },
);

it("a command becomes a user with the groups of the system, or else the directory's", async () => {
  const known = rootProcess({});
  becomeUser(known, { uid: 34, gid: 0 }, () => 35);
  expect(known.calls).toEqual(['seteuid 34', 'seteuid 0', 'initgroups 34 35', 'setgid 35', 'setuid 34']);
  for (const [gid, group] of [
    [36, 36],
    // The process must not keep root's group and its rights.
    [0, 65_534],
  ] as const) {
    const unknown = rootProcess({});
    becomeUser(unknown, { uid: 34, gid }, () => {
      throw new Error('ENOENT: no such user');
    });
    expect(unknown.calls).toEqual(['seteuid 34', 'seteuid 0', 'setgroups ', `setgid ${group}`, 'setuid 34']);
  }
  const root = rootProcess({});
  await expectKeyError(() => becomeUser(root, { uid: 0, gid: 0 }), 'BAD_OPTION', 'cannot become user 0');
  expect(root.calls).toEqual([]);
});
