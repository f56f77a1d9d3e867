/**
 * Builds everything that ships: `build/plugin/aws_key_management.so`, beside it the agent executable that the plugin
 * starts, and `build/mariadb-aws-kms`, the same executable as a command, with its man pages and its completion.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, linkSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BUILT_IN_OPTIONS } from '../src/cli/runtime-settings.ts';
import { bundle } from './bundle.ts';
import { writeManual } from './manual.ts';
import { readSource } from './source.ts';

const root = join(import.meta.dirname, '..');
const out = join(root, 'build');
const plugins = join(out, 'plugin');
const scripts = join(out, 'bundle');
const executable = join(plugins, 'aws_key_management_agent');

mkdirSync(plugins, { recursive: true });
rmSync(scripts, { recursive: true, force: true });
mkdirSync(scripts);

const { loader, chunks, inputs } = await bundle(readSource().commit);
writeFileSync(join(scripts, 'load-chunks.mjs'), loader);
writeFileSync(join(scripts, 'chunks.js'), chunks);
writeFileSync(join(out, 'bundled-files.txt'), inputs.map((path) => `${path}\n`).join(''));

// Symbols are a quarter of the file. From the finished executable `strip` would take the scripts as well.
const node = join(out, 'node');
execFileSync('strip', ['-o', node, process.execPath], { stdio: 'inherit' });

const seaConfig = join(out, 'sea.json');
const fresh = join(out, 'agent.new');
// Relative to the root: the path of the main script becomes a part of the executable.
const scriptPath = (name: string): string => `build/bundle/${name}`;
writeFileSync(
  seaConfig,
  JSON.stringify({
    main: scriptPath('load-chunks.mjs'),
    // The variable NODE_COMPILE_CACHE has a CommonJS script compiled from a file of whoever set it.
    mainFormat: 'module',
    assets: { chunks: scriptPath('chunks.js') },
    executable: node,
    output: fresh,
    disableExperimentalSEAWarning: true,
    // With a code cache no two builds would be the same, and a start without a JIT could not use it.
    useCodeCache: false,
    // Without a JIT the agent runs where memory must not be writable and executable. A plugin that may map such memory
    // starts it with --node-options=--no-jitless, the only value that the program accepts; nothing from the environment
    // adds options. Without --disable-sigusr1 that signal would open a debugger to every user of the machine.
    execArgv: BUILT_IN_OPTIONS,
    execArgvExtension: 'cli',
  }),
);
execFileSync(process.execPath, ['--build-sea', seaConfig], {
  cwd: root,
  stdio: ['ignore', 'ignore', 'inherit'],
});
rmSync(node);
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

writeManual(out);

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
