/**
 * Runs every test and ends with the line "N passed, N failed": the checks, the plugin's own tests under sanitizers, then
 * the unit tests, the integration tests with real servers, and some of MariaDB's own.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';

interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

const root = join(import.meta.dirname, '..');
const JOBS = `-j${availableParallelism()}`;
const total: Count = { passed: 0, failed: 0, skipped: 0 };

function add(name: string, { passed, failed, skipped }: Count): void {
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
  console.log(`-- ${name}: ${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`);
}

function step(name: string, command: string, args: readonly string[]): void {
  console.log(`-- ${name}`);
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  add(name, status === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 });
}

/** Runs tests whose last line has the form of ours. */
function counted(name: string, command: string, args: readonly string[]): void {
  console.log(`-- ${name}`);
  const { stdout, status } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 64 * 1024 * 1024,
  });
  const [, passed = '0', failed = '0', skipped = '0'] =
    /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/m.exec(stdout) ?? [];
  if (status !== 0) console.log(stdout);
  // A run that crashed or counted nothing has failed, whatever it printed.
  const broken = failed === '0' && (status !== 0 || passed === '0') ? 1 : 0;
  add(name, { passed: Number(passed), failed: Number(failed) + broken, skipped: Number(skipped) });
}

function vitest(project: string): void {
  const directory = mkdtempSync(join(tmpdir(), 'mak-results-'));
  const file = join(directory, 'results.json');
  console.log(`-- ${project} tests`);
  try {
    const { status } = spawnSync(
      join(root, 'node_modules/.bin/vitest'),
      ['run', '--project', project, '--reporter=default', '--reporter=json', `--outputFile.json=${file}`],
      { cwd: root, stdio: 'inherit' },
    );
    add(`${project} tests`, countOf(file, status === 0));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function countOf(file: string, ok: boolean): Count {
  const results: unknown = JSON.parse(readFileSync(file, 'utf8'));
  const count = (name: string): number => {
    const value =
      typeof results === 'object' && results !== null
        ? Object.entries(results).find(([key]) => key === name)?.[1]
        : undefined;
    return typeof value === 'number' ? value : 0;
  };
  const failed = count('numFailedTests');
  const passed = count('numPassedTests');
  return { passed, failed: failed === 0 && (!ok || passed === 0) ? 1 : failed, skipped: count('numPendingTests') };
}

step('checks', process.execPath, ['scripts/check.ts']);
for (const compiler of ['gcc', 'clang']) {
  step(`plugin built with ${compiler}, its symbols checked`, 'make', [
    '-s',
    JOBS,
    '-C',
    'plugin',
    `CC=${compiler}`,
    `OUT=../build/plugin-${compiler}`,
    'all',
    'check-symbols',
  ]);
}
counted('plugin tests under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer', 'make', [
  '-s',
  JOBS,
  '-C',
  'plugin',
  'test',
  'CC=gcc',
]);
step('both ends of the protocol, fuzzed for a moment', process.execPath, ['campaigns/fuzz.ts', '--seconds', '8']);
for (const project of ['unit', 'integration']) vitest(project);
counted("some of MariaDB's own tests of encryption", process.execPath, ['campaigns/mariadb-suite.ts', '--quick']);

console.log(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}`);
process.exitCode = total.failed === 0 ? 0 : 1;
