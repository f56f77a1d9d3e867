/**
 * Builds everything that ships: `build/plugin/aws_key_management.so`, beside it the agent executable that the plugin
 * starts, and `build/mariadb-aws-kms`, the same executable as a command.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, linkSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { BUILT_IN_OPTIONS } from '../src/cli/runtime-settings.ts';

const root = join(import.meta.dirname, '..');
const out = join(root, 'build');
const plugins = join(out, 'plugin');
const bundle = join(out, 'agent.cjs');
const executable = join(plugins, 'aws_key_management_agent');

mkdirSync(plugins, { recursive: true });

await build({
  entryPoints: [join(root, 'src/cli/main.ts')],
  outfile: bundle,
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: `node${process.versions.node.split('.')[0]}`,
  minifySyntax: true,
  minifyWhitespace: true,
  // Prefer ES modules, from which unused exports can be removed.
  mainFields: ['module', 'main'],
  legalComments: 'external',
  logLevel: 'warning',
});

const seaConfig = join(out, 'sea.json');
const fresh = join(out, 'agent.new');
writeFileSync(
  seaConfig,
  JSON.stringify({
    main: bundle,
    output: fresh,
    disableExperimentalSEAWarning: true,
    useCodeCache: true,
    // Without a JIT the agent runs where memory must not be writable and executable. A plugin that may map such memory
    // starts it with --node-options=--no-jitless, the only value that the program accepts; nothing from the environment
    // adds options. Without --disable-sigusr1 that signal would open a debugger to every user of the machine. The code
    // cache is made with a JIT, and only accepted with one; without one Node.js prints a warning.
    execArgv: BUILT_IN_OPTIONS,
    execArgvExtension: 'cli',
  }),
);
execFileSync(process.execPath, ['--build-sea', seaConfig], { stdio: ['ignore', 'ignore', 'inherit'] });
// The copy has the layout of an installed file: of a file that was written at once, the kernel maps more into each
// process.
copyFileSync(fresh, `${fresh}.copy`);
renameSync(`${fresh}.copy`, fresh);
chmodSync(fresh, 0o755);
// A rename keeps the file of a running agent.
renameSync(fresh, executable);

const command = join(out, 'mariadb-aws-kms');
rmSync(command, { force: true });
linkOrSymlink(executable, command);

execFileSync(
  'make',
  ['--no-print-directory', '-s', '-C', join(root, 'plugin'), `OUT=${plugins}`, 'all', 'check-symbols'],
  {
    stdio: 'inherit',
  },
);

function linkOrSymlink(target: string, path: string): void {
  try {
    linkSync(target, path);
  } catch {
    symlinkSync(target, path);
  }
}
