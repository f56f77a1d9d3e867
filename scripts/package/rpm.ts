/** The rpm package, made by Debian's rpmbuild from packaging/rpm. */
import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { withScratchDirectory } from '../../harness/scratch-directory.ts';
import { ARCHITECTURE, type PackageJob } from './job.ts';
import { stage } from './stage.ts';
import { refuseNewerSymbols } from './symbols.ts';

export const RPM = 'mariadb-plugin-aws-key-management';
const PLUGINS = '/usr/lib64/mariadb/plugin';
const LAYOUT = { plugins: PLUGINS, units: '/usr/lib/systemd/system', documents: `/usr/share/doc/${RPM}` };

/** Writes NAME-VERSION-1.ARCHITECTURE.rpm. Needs Debian's rpm and binutils. */
export async function packRpm(job: PackageJob): Promise<void> {
  await withScratchDirectory(
    'rpm.',
    async (scratch) => {
      const staged = join(scratch, 'stage');
      stage(staged, LAYOUT, job);
      refuseNewerSymbols([join(staged, 'usr/bin/mariadb-aws-kms'), join(staged, PLUGINS, 'aws_key_management.so')]);
      const macros = {
        _topdir: join(scratch, 'top'),
        _rpmdir: job.out,
        _rpmfilename: '%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm',
        staged,
        version_of_package: job.version,
        epoch_of_files: String(job.epoch),
        payload: job.isFast ? 'w1.gzdio' : 'w9.xzdio',
      };
      const defines = Object.entries(macros).flatMap(([name, value]) => ['--define', `${name} ${value}`]);
      const spec = join(job.root, 'packaging/rpm', `${RPM}.spec`);
      execFileSync('rpmbuild', ['-bb', '--quiet', '--target', `${ARCHITECTURE}-linux`, ...defines, spec], {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { ...process.env, SOURCE_DATE_EPOCH: String(job.epoch), LC_ALL: 'C.UTF-8' },
      });
    },
    dirname(job.out),
  );
}
