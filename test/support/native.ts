import { join } from 'node:path';
import { compileNative, linkPlugins } from '../../harness/native.ts';
import { scratchDirectory } from './scratch.ts';

/** Compiles a C file of test/native; returns the path of the result. */
export function compile(name: string, kind: 'library' | 'program'): string {
  return compileNative(join(import.meta.dirname, '../native', `${name}.c`), kind, '-O1');
}

/** A plugin directory with the plugin, its agent, and more libraries. */
export function pluginDirectoryWith(...libraries: readonly string[]): string {
  return linkPlugins(scratchDirectory(), ...libraries);
}
