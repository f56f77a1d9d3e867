import { execFile, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { PATH } from '../../harness/scratch-server.ts';
import { cleanUp, scratchDirectory, until } from '../support/scratch.ts';

const DEMO = join(import.meta.dirname, '../../scripts/demo.ts');

interface Finished {
  readonly status: number | null;
  readonly output: string;
}

/** Runs the demo with a temporary directory of its own, so that what it leaves there can be seen. */
function startDemo(tmpdir: string, ...args: string[]) {
  const demo = spawn(process.execPath, [DEMO, ...args], {
    env: { PATH, TMPDIR: tmpdir, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [demo.stdout, demo.stderr]) stream.on('data', (text: Buffer) => (output += text.toString()));
  cleanUp(() => {
    demo.kill('SIGKILL');
    for (const pid of processesIn(tmpdir)) process.kill(pid, 'SIGKILL');
  });
  const finished = new Promise<Finished>((resolve) => demo.on('close', (status) => resolve({ status, output })));
  return { demo, finished, output: () => output };
}

/** Processes that have the directory in their command line. */
function processesIn(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(directory);
      } catch {
        return false;
      }
    })
    .map(Number);
}

it('the demo shows the main job, leaves no process and no file', async () => {
  const tmpdir = scratchDirectory();
  const { status, output } = await startDemo(tmpdir).finished;
  expect(output).toContain('All of it held.');
  expect(output).not.toContain('undefined');
  expect(status).toBe(0);
  expect(readdirSync(tmpdir)).toEqual([]);
  expect(processesIn(tmpdir)).toEqual([]);
});

it('the demo with --keep leaves the server running and prints how to connect and how to stop it', async () => {
  const tmpdir = scratchDirectory();
  const { status, output } = await startDemo(tmpdir, '--keep').finished;
  expect(status).toBe(0);
  const command = (start: string): string =>
    output
      .split('\n')
      .find((line) => line.trim().startsWith(start))
      ?.trim() ?? 'false';
  const shell = promisify(execFile);
  const { stdout } = await shell('sh', ['-c', `${command('mariadb ')} -e 'SELECT note FROM shop.customers'`], {
    env: { PATH },
  });
  expect(stdout).toContain('the quick brown secret');
  await shell('sh', ['-c', command('kill ')], { env: { PATH } });
  await until('nothing runs', () => processesIn(tmpdir).length === 0);
  expect(readdirSync(tmpdir)).toEqual([]);
});

it.each(['SIGINT', 'SIGHUP'] as const)('the demo cleans up on %s', async (signal) => {
  const tmpdir = scratchDirectory();
  const { demo, finished, output } = startDemo(tmpdir);
  await until('the server runs', () => output().includes('Encrypted tables'));
  demo.kill(signal);
  const { status } = await finished;
  expect(status).toBe(1);
  expect(output()).not.toContain('The demo failed');
  expect(existsSync(tmpdir) ? readdirSync(tmpdir) : []).toEqual([]);
  expect(processesIn(tmpdir)).toEqual([]);
});
