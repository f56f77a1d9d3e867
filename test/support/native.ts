import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { AGENT, BUILD, PLUGIN_DIRECTORY } from '../../scripts/lib/scratch-server.ts';
import { scratchDirectory } from './scratch.ts';

const SOURCES = join(import.meta.dirname, '../native');

/** Compiles a C file of test/native; returns the path of the result. */
export function compile(name: string, kind: 'library' | 'program'): string {
  const directory = join(BUILD, 'test-native');
  mkdirSync(directory, { recursive: true });
  const output = join(directory, kind === 'library' ? `${name}.so` : name);
  const include = ['mysql', 'server', 'server/mysql'].flatMap((folder) => [
    '-isystem',
    `/usr/include/mariadb/${folder}`,
  ]);
  const shared = kind === 'library' ? ['-shared', '-fPIC', '-fvisibility=hidden'] : [];
  execFileSync('gcc', [
    '-std=gnu11',
    '-O1',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-pthread',
    ...include,
    ...shared,
    '-o',
    output,
    join(SOURCES, `${name}.c`),
  ]);
  return output;
}

/** A plugin directory with the plugin, its agent, and more libraries. */
export function pluginDirectoryWith(...libraries: readonly string[]): string {
  const directory = scratchDirectory();
  for (const file of [join(PLUGIN_DIRECTORY, 'aws_key_management.so'), AGENT, ...libraries]) {
    symlinkSync(file, join(directory, basename(file)));
  }
  return directory;
}
