/** The npm package: the command and the TypeScript API as ES modules, with their dependencies named and not included. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { build } from 'esbuild';
import { withScratchDirectory } from '../../harness/scratch-directory.ts';
import manifest from '../../package.json' with { type: 'json' };
import { writeDocument } from './documents.ts';
import type { PackageJob } from './job.ts';

/** The oldest Node.js that runs the package; `npm run check:npm` tries it. */
export const OLDEST_NODE = '22.0.0';
const COMMAND = 'bin/mariadb-aws-kms.js';
/** Not an option in the first line: `env -S` is absent on Alpine, and children start without that line. */
const START = `#!/usr/bin/env node
const printers = process.listeners('warning');
process.removeAllListeners('warning');
process.on('warning', (warning) => {
  if (warning.name !== 'ExperimentalWarning') for (const print of printers) print(warning);
});
await import('../dist/command.js');
`;

/** Writes NAME-VERSION.tgz, and leaves the directory that was packed as `stage-npm` in the build. */
export async function packNpm(job: PackageJob): Promise<void> {
  const stage = join(job.build, 'stage-npm');
  rmSync(stage, { recursive: true, force: true });
  mkdirSync(join(stage, 'bin'), { recursive: true });
  await build({
    absWorkingDir: job.root,
    entryPoints: { index: 'src/index.ts', command: 'src/cli/main.ts' },
    outdir: join(stage, 'dist'),
    bundle: true,
    splitting: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: `node${OLDEST_NODE}`,
    logLevel: 'warning',
    define: { BUILD_COMMIT: JSON.stringify(job.commit) },
  });
  await writeDeclarations(job.root, join(stage, 'types'));
  writeFileSync(join(stage, COMMAND), START);
  writeFileSync(join(stage, 'package.json'), `${JSON.stringify(published(job.version), null, 2)}\n`);
  for (const file of ['LICENSE', 'packaging/npm/README.md'])
    copyFileSync(join(job.root, file), join(stage, file.replace(/^.*\//, '')));
  writeDocument(job.root, 'CHANGELOG.md', join(stage, 'CHANGELOG.md'), new Map());
  normaliseModes(stage);
  execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', job.out], {
    cwd: stage,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

function published(version: string): object {
  const { name, license, type, os, dependencies } = manifest;
  return {
    name,
    // npm knows no ~ in a version, and orders `0.1.0-git7` before `0.1.0`.
    version: version.replace('~', '-'),
    description: 'Tools and TypeScript API for MariaDB data-at-rest encryption with keys held by AWS KMS',
    keywords: ['mariadb', 'aws-kms', 'encryption', 'data-at-rest'],
    license,
    type,
    exports: { '.': { types: './types/index.d.ts', default: './dist/index.js' }, './package.json': './package.json' },
    bin: { [name]: COMMAND },
    files: ['bin', 'dist', 'types', 'CHANGELOG.md'],
    engines: { node: `>=${OLDEST_NODE.replace(/\.0\.0$/, '')}` },
    os,
    dependencies,
  };
}

/** Writes the declarations that `index.d.ts` refers to, and no others. */
async function writeDeclarations(root: string, types: string): Promise<void> {
  await withScratchDirectory('types.', async (scratch) => {
    const config = {
      extends: join(root, 'tsconfig.json'),
      compilerOptions: {
        noEmit: false,
        declaration: true,
        emitDeclarationOnly: true,
        rootDir: join(root, 'src'),
        outDir: join(scratch, 'types'),
        typeRoots: [join(root, 'node_modules/@types')],
      },
      include: [],
      files: [join(root, 'src/index.ts')],
    };
    writeFileSync(join(scratch, 'tsconfig.json'), JSON.stringify(config));
    execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', scratch], { stdio: 'inherit' });
    const wanted = new Set(['index.d.ts']);
    for (const file of wanted) {
      const text = readFileSync(join(scratch, 'types', file), 'utf8');
      for (const [, target = ''] of text.matchAll(/ from '(\.[^']+)\.ts'/g))
        wanted.add(normalize(join(dirname(file), `${target}.d.ts`)));
      mkdirSync(dirname(join(types, file)), { recursive: true });
      writeFileSync(join(types, file), text.replace(/( from '\.[^']+)\.ts'/g, "$1.js'"));
    }
  });
}

/** npm packs files with the modes that they have. */
function normaliseModes(stage: string): void {
  for (const name of readdirSync(stage, { recursive: true, encoding: 'utf8' })) {
    const path = join(stage, name);
    chmodSync(path, statSync(path).isDirectory() || name === COMMAND ? 0o755 : 0o644);
  }
}
