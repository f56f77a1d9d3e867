/** Runs a program to its end and measures it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface CommandRun {
  /** From its start to its end. */
  readonly ms: number;
  /** User and system time, with that of its children. */
  readonly cpuMs: number;
  /** The most memory that it, or one of its children, had at one time. */
  readonly residentBytes: number;
}

/**
 * Discards the output.
 * @param environment beside that of this process
 * @throws Error for an exit status above 0
 */
export async function measureCommand(
  command: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<CommandRun> {
  const report = join(tmpdir(), `mak-time.${process.pid}`);
  try {
    const startMs = performance.now();
    const child = spawn('/usr/bin/time', ['--quiet', '-o', report, '-f', '%U %S %M', ...command], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, ...environment },
    });
    const [status]: unknown[] = await once(child, 'exit');
    const ms = performance.now() - startMs;
    if (status !== 0) throw new Error(`${command.slice(0, 3).join(' ')} ended with ${String(status)}`);
    return { ms, ...usedBy(readFileSync(report, 'utf8')) };
  } finally {
    rmSync(report, { force: true });
  }
}

/** Parses the report: seconds of user and system time, and KiB. */
export function usedBy(report: string): Omit<CommandRun, 'ms'> {
  const [user = Number.NaN, system = Number.NaN, resident = Number.NaN] = report.trim().split(' ').map(Number);
  if (Number.isNaN(user + system + resident)) throw new Error(`time reported ${report.trim()}`);
  return { cpuMs: (user + system) * 1000, residentBytes: resident * 1024 };
}

/** Starts a program for each of the arguments, one after the other, from a shell. */
export function forEach(program: string, args: readonly string[]): string[] {
  return ['sh', '-c', `for each; do ${program} "$each" || exit; done`, 'sh', ...args];
}
