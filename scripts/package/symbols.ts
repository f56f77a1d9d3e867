/** The oldest systems that the executable and the plugin run on, told by the versions of the symbols that they need. */
import { execFileSync } from 'node:child_process';

/** RHEL 9 and Amazon Linux 2023 have these: glibc, and the C++ library of GCC 11. */
const NEWEST: Readonly<Record<string, string>> = { GLIBC: '2.34', GLIBCXX: '3.4.29' };

/** @throws Error if one of the ELF files needs a newer library. Needs `objdump`. */
export function refuseNewerSymbols(files: readonly string[]): void {
  for (const file of files) {
    const symbols = execFileSync('objdump', ['--dynamic-syms', file], { encoding: 'utf8', maxBuffer: 1 << 28 });
    const needed = symbols.split('\n').filter((line) => line.includes('*UND*'));
    const newer = needed.filter((line) => {
      const [, library = '', version = ''] = /\(?(GLIBC|GLIBCXX)_([\d.]+)\)?/.exec(line) ?? [];
      return library !== '' && isNewer(version, NEWEST[library] ?? '');
    });
    if (needed.length === 0) throw new Error(`${file} needs no symbol at all: that is no file of ours`);
    if (newer.length > 0) throw new Error(`${file} needs symbols that RHEL 9 does not have:\n${newer.join('\n')}`);
  }
}

function isNewer(version: string, limit: string): boolean {
  return version.localeCompare(limit, 'en', { numeric: true }) > 0;
}
