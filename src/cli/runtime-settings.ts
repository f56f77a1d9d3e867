import { readFileSync } from 'node:fs';
import { isSea } from 'node:sea';
import { stopCoverage } from 'node:v8';
import { KeyError } from '../errors.ts';

/** Options that the build gives to the executable, and the one that a plugin adds (`--node-options=--no-jitless`). */
export const BUILT_IN_OPTIONS = [
  '--jitless',
  '--disable-sigusr1',
  // MiB; by default V8 lets its youngest objects fill 16, and a start with many keys takes 60 MB more and no less time.
  '--max-semi-space-size=8',
  '--disable-warning=Warning',
  '--disable-warning=ExperimentalWarning',
] as const;
const COMPILE = '--no-jitless';
/** Verbs that read much data: without a JIT they take many times as long. */
const COMPILED_VERBS: readonly string[] = ['audit', 'decrypt', 'verify-data'];

/**
 * Variables of Node.js, OpenSSL and ICU. They can make a process print its internals, write coverage, compiled code or
 * warnings into files, load libraries, accept messages from a descriptor, or trust other certificates.
 */
const VARIABLES = /^(?:NODE|OPENSSL|ICU)_/;

/** The environment of the process at its start: Node.js removes some variables from `process.env`. */
function runtimeVariables(): readonly string[] {
  const names = new Set(Object.keys(process.env));
  try {
    for (const entry of readFileSync('/proc/self/environ', 'latin1').split('\0')) names.add(entry.replace(/=.*/s, ''));
  } catch {
    // Without /proc, `process.env` has to do.
  }
  return [...names].filter((name) => VARIABLES.test(name));
}

/**
 * Removes the effect of variables and arguments that control the runtime instead of this program, and has the verbs that
 * read much run with a JIT, unless `--node-options` says something about it. Most variables are read before the program's
 * first line runs, so the process executes itself again without them, under the same process id. Nothing happens where
 * Node.js runs the sources, so that developers can debug.
 * @throws KeyError BAD_OPTION
 */
export function dropRuntimeSettings(isStartedByPlugin: boolean): void {
  if (!isSea()) return;
  const strange = process.execArgv.filter((option) => ![...BUILT_IN_OPTIONS, COMPILE].includes(option));
  if (strange.length > 0) {
    throw new KeyError('BAD_OPTION', `--node-options: ${strange.join(' ')} is not allowed`, {
      hint: `the only option of Node.js that may be given is ${COMPILE}`,
    });
  }
  const found = runtimeVariables();
  // Executing again would close the descriptor that the plugin passes.
  if (found.length > 0 && isStartedByPlugin) {
    stopCoverage();
    throw new KeyError('BAD_OPTION', `the agent was started with ${found.join(', ')} in its environment`, {
      hint: 'the plugin passes no such variable: take it out of the program that aws_key_management_agent names; certificates to trust are named by AWS_CA_BUNDLE or SSL_CERT_FILE',
    });
  }
  const given = process.execArgv.slice(BUILT_IN_OPTIONS.length);
  const isToCompile = given.length === 0 && COMPILED_VERBS.includes(process.argv[2] ?? '');
  if (found.length === 0 && !isToCompile) return;
  startAnew(
    Object.fromEntries(Object.entries(process.env).filter(([name]) => !VARIABLES.test(name))),
    isToCompile ? [COMPILE] : given,
  );
}

/** @param options of Node.js, besides the built-in ones */
function startAnew(environment: NodeJS.ProcessEnv, options: readonly string[]): never {
  const { execve, execPath, argv0, argv } = process;
  if (execve === undefined) throw new KeyError('INTERNAL', 'this platform cannot replace a process');
  const named = options.length === 0 ? [] : [`--node-options=${options.join(' ')}`];
  return execve.call(process, execPath, [argv0, ...named, ...argv.slice(2)], environment);
}
