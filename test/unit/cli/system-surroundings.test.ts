import { expect, it, vi } from 'vitest';
import { programPath, systemSurroundings } from '../../../src/cli/system-surroundings.ts';

it('a program run for the doctor gets no AWS variables, and one of another user no variable at all', async () => {
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'root-only');
  vi.stubEnv('ROOTS_OWN', 'private');
  const { run } = systemSurroundings();
  const signal = AbortSignal.timeout(60_000);
  const own = (await run('env', [], signal))?.stdout ?? '';
  expect(own).toContain('ROOTS_OWN=private');
  expect(own).not.toContain('AWS_');
  if (process.getuid?.() !== 0) throw new Error('only root can act as another user: run these tests as root');
  const theirs = await run('env', [], signal, { uid: 65_534, gid: 65_534, home: '/nonexistent' });
  const names = theirs?.stdout
    .trim()
    .split('\n')
    .map((line) => line.split('=', 1)[0]);
  expect(names?.sort()).toEqual(['HOME', 'LC_ALL', 'PATH']);
});

it.each([
  [undefined, ''],
  ['', ''],
  [':.:bin:/opt/bin', '/opt/bin:'],
])('PATH=%s never includes the current directory', (path, expected) => {
  expect(programPath(path)).toBe(
    `${expected}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/libexec`,
  );
});
