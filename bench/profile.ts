/** Profiles a process by `perf record`. */
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Shares of the samples, by library or program. */
export type Profile = ReadonlyMap<string, number>;

/** Samples the process for so many seconds. The caller keeps the process busy. */
export async function profile(pid: number, file: string, seconds: number): Promise<Profile> {
  try {
    // cpu-clock, because virtual machines often have no counters of cycles.
    const sampling = ['-q', '-e', 'cpu-clock', '-F', '997', '-p', String(pid), '-o', file];
    await run('perf', ['record', ...sampling, '--', 'sleep', String(seconds)]);
    const { stdout } = await run('perf', [
      'report',
      '-i',
      file,
      '--stdio',
      '-q',
      '--sort',
      'dso',
      '--fields',
      'overhead,dso',
    ]);
    const lines = [...stdout.matchAll(/^ *([\d.]+)% +(\S+)/gm)];
    if (lines.length === 0) throw new Error(`perf report printed no samples:\n${stdout}`);
    return new Map(lines.map(([, share, name]) => [String(name), Number(share) / 100]));
  } finally {
    rmSync(file, { force: true });
  }
}
