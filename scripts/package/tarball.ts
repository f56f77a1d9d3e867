/** The archive for every Linux, with scripts that install and remove. */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { withScratchDirectory } from '../../harness/scratch-directory.ts';
import { ARCHITECTURE, type PackageJob } from './job.ts';
import { stage } from './stage.ts';
import { refuseNewerSymbols } from './symbols.ts';

const LAYOUT = {
  plugins: '/usr/plugin',
  units: '/usr/lib/systemd/system',
  documents: '/usr/share/doc/mariadb-aws-kms',
};

/** Writes mariadb-aws-kms-VERSION-linux-ARCHITECTURE.tar.xz. Needs GNU tar, xz and binutils. */
export async function packTarball(job: PackageJob): Promise<void> {
  await withScratchDirectory(
    'tarball.',
    async (scratch) => {
      const name = `mariadb-aws-kms-${job.version}-linux-${ARCHITECTURE}`;
      const top = join(scratch, name);
      const staged = join(scratch, 'stage');
      stage(staged, LAYOUT, job);
      mkdirSync(top);
      renameSync(join(staged, 'usr'), join(top, 'files'));
      // install.sh makes the link, whose target depends on the prefix.
      rmSync(join(top, 'files/plugin/aws_key_management_agent'));
      for (const script of ['install.sh', 'uninstall.sh']) {
        cpSync(join(job.root, 'packaging/tarball', script), join(top, script));
        chmodSync(join(top, script), 0o755);
      }
      refuseNewerSymbols([join(top, 'files/bin/mariadb-aws-kms'), join(top, 'files/plugin/aws_key_management.so')]);
      const same = [
        '--sort=name',
        '--owner=0',
        '--group=0',
        '--numeric-owner',
        `--mtime=@${job.epoch}`,
        '--format=ustar',
      ];
      const tar = join(scratch, `${name}.tar`);
      execFileSync('tar', ['-cf', tar, '-C', scratch, ...same, '--mode=go=rX,u+rw', name], { stdio: 'inherit' });
      // The number of threads decides about the bytes.
      execFileSync('xz', ['--threads=1', job.isFast ? '-0' : '-9', tar], { stdio: 'inherit' });
      cpSync(`${tar}.xz`, join(job.out, `${name}.tar.xz`));
    },
    dirname(job.out),
  );
}
