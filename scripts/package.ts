/**
 * Packs the build into build/packages/: `npm run package` makes every kind, `npm run package -- deb` one.
 *   --version VERSION  version of the packages, such as 0.1.0~git7 (default: that of package.json)
 *   --build DIRECTORY  a build of other sources (default: build)
 *   --out DIRECTORY    (default: build/packages)
 *   --fast             compress little, for trials
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { writeNotices } from './notices.ts';
import { packDeb } from './package/deb.ts';
import type { PackageJob } from './package/job.ts';
import { packNpm } from './package/npm.ts';
import { packRpm } from './package/rpm.ts';
import { packTarball } from './package/tarball.ts';
import { readSource } from './source.ts';

const KINDS: Readonly<Record<string, (job: PackageJob) => Promise<void>>> = {
  deb: packDeb,
  rpm: packRpm,
  tarball: packTarball,
  npm: packNpm,
};
const SUMS = 'SHA256SUMS';

const root = join(import.meta.dirname, '..');
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    version: { type: 'string' },
    build: { type: 'string' },
    out: { type: 'string' },
    fast: { type: 'boolean' },
  },
});
const packers = (positionals.length > 0 ? positionals : Object.keys(KINDS)).map((kind) => {
  const packer = KINDS[kind];
  if (packer === undefined) throw new Error(`expected ${Object.keys(KINDS).join(', ')}, got ${kind}`);
  return packer;
});

process.umask(0o022);
const source = readSource();
const job: PackageJob = {
  root,
  build: resolve(values.build ?? join(root, 'build')),
  out: resolve(values.out ?? join(root, 'build/packages')),
  version: values.version ?? source.version,
  commit: source.commit,
  epoch: source.epoch,
  isFast: values.fast ?? false,
};
mkdirSync(job.out, { recursive: true });
// A build of other sources has no notices of its own to make.
if (values.build === undefined) {
  refuseOldBuild();
  writeNotices(job.root, job.build);
}
for (const pack of packers) await pack(job);
writeSums(job.out);

function refuseOldBuild(): void {
  const built = execFileSync(join(job.build, 'mariadb-aws-kms'), ['--version'], { encoding: 'utf8' }).trim();
  if (!built.includes(`(${job.commit})`))
    throw new Error(`build holds ${built}, the sources are ${job.commit}: build again`);
}

/** The file has a line for each package, as `sha256sum --check` reads it. A signature of older sums is not kept. */
function writeSums(directory: string): void {
  const lines = readdirSync(directory)
    .filter((name) => !name.startsWith(SUMS))
    .sort()
    .map(
      (name) =>
        `${createHash('sha256')
          .update(readFileSync(join(directory, name)))
          .digest('hex')}  ${name}\n`,
    );
  writeFileSync(join(directory, SUMS), lines.join(''));
}
