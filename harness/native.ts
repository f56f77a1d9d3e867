import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { AGENT, BUILD, PLUGIN_DIRECTORY } from './scratch-server.ts';

const INCLUDES = ['mysql', 'server', 'server/mysql'].flatMap((folder) => [
  '-isystem',
  `/usr/include/mariadb/${folder}`,
]);

/** Compiles a C file that may know MariaDB's headers; returns the path of the result. */
export function compileNative(
  source: string,
  kind: 'library' | 'program',
  optimisation: '-O1' | '-O2',
  linked: readonly string[] = [],
): string {
  const directory = join(BUILD, 'native');
  mkdirSync(directory, { recursive: true });
  const name = basename(source, '.c');
  const output = join(directory, kind === 'library' ? `${name}.so` : name);
  const shared = kind === 'library' ? ['-shared', '-fPIC', '-fvisibility=hidden'] : [];
  const flags = ['-std=gnu11', optimisation, '-Wall', '-Wextra', '-Werror', '-pthread'];
  execFileSync('gcc', [...flags, ...INCLUDES, ...shared, '-o', output, source, ...linked]);
  return output;
}

/** Turns a directory into a plugin directory with the plugin, its agent and more libraries. */
export function linkPlugins(directory: string, ...libraries: readonly string[]): string {
  mkdirSync(directory, { recursive: true });
  for (const file of [join(PLUGIN_DIRECTORY, 'aws_key_management.so'), AGENT, ...libraries]) {
    symlinkSync(file, join(directory, basename(file)));
  }
  return directory;
}
