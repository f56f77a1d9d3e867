/**
 * Builds everything that ships: `build/plugin/aws_key_management.so`, beside it the agent executable that the plugin
 * starts, and `build/mariadb-aws-kms`, the same executable as a command.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

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
    // Without a JIT it runs where memory may not be both writable and executable; nothing from the environment adds
    // options to it.
    execArgv: ['--jitless'],
    execArgvExtension: 'none',
  }),
);
// The code cache is only accepted under the flags it was made with.
execFileSync(process.execPath, ['--jitless', '--build-sea', seaConfig], { stdio: ['ignore', 'ignore', 'inherit'] });
chmodSync(fresh, 0o755);
// Renamed into place: an agent that runs keeps its file.
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
