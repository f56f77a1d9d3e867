/** The Debian package, made by debhelper from packaging/debian. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { withScratchDirectory } from '../../harness/scratch-directory.ts';
import type { PackageJob } from './job.ts';
import { stage, UNIT } from './stage.ts';

export const DEB = 'mariadb-plugin-aws-key-management';
const LAYOUT = { plugins: '/usr/lib/mysql/plugin', units: undefined, documents: `/usr/share/doc/${DEB}` };
/**
 * MariaDB's repository has a package of this name, whose versions have the epoch 1: it would replace this one in an
 * upgrade of the machine. An epoch is in no file name.
 */
const EPOCH = 2;
const MAINTAINER = 'mariadb-aws-kms maintainers <maintainers@mariadb-aws-kms.invalid>';

/** Writes NAME_VERSION_ARCHITECTURE.deb. Needs Debian's dpkg-dev and debhelper. */
export async function packDeb(job: PackageJob): Promise<void> {
  await withScratchDirectory(
    'deb.',
    async (scratch) => {
      const source = join(scratch, 'source');
      const debian = join(source, 'debian');
      cpSync(join(job.root, 'packaging/debian'), debian, { recursive: true });
      writeFileSync(join(debian, 'changelog'), changelog(job));
      // debhelper knows the directory of units of the release that it runs on.
      copyFileSync(join(job.root, 'packaging/systemd', UNIT), join(debian, `${DEB}.${UNIT}`));
      stage(join(source, 'stage'), LAYOUT, job);
      execFileSync('dpkg-buildpackage', ['--build=binary', '--unsigned-changes', '--no-pre-clean'], {
        cwd: source,
        stdio: ['ignore', 'ignore', 'inherit'],
        env: {
          ...process.env,
          SOURCE_DATE_EPOCH: String(job.epoch),
          COMPRESSION: job.isFast ? '-Zgzip -z1' : '-Zxz -z9',
          LC_ALL: 'C.UTF-8',
        },
      });
      for (const name of readdirSync(scratch).filter((file) => file.endsWith('.deb')))
        copyFileSync(join(scratch, name), join(job.out, name));
    },
    dirname(job.out),
  );
}

function changelog({ version, commit, epoch }: PackageJob): string {
  const date = new Date(epoch * 1000).toUTCString().replace('GMT', '+0000');
  return `${DEB} (${EPOCH}:${version}) unstable; urgency=medium

  * Commit ${commit}. CHANGELOG.md in this directory says what is new.

 -- ${MAINTAINER}  ${date}
`;
}
