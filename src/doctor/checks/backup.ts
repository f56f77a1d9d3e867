import { sep } from 'node:path';
import { ok, type Report, warning } from '../../finding.ts';
import type { Configuration } from '../../server/configuration.ts';
import type { KeptConfiguration } from '../../server/key-keeper.ts';
import type { Check } from '../check.ts';

/** Checks that the keys are copied along with the data: into backups, and to nodes that join a cluster. */
export const backup: Check = {
  id: 'backup',
  async run({ configuration }) {
    const reports = [...backupReports(configuration), ...clusterReports(configuration)];
    return reports.length > 0 ? reports : [ok('the keys are in the data directory: mariadb-backup copies them')];
  },
};

function backupReports(configuration: KeptConfiguration): readonly Report[] {
  const { isKeyfileDirDatadir, keyfileDir, agent, keeper } = configuration;
  if (keeper.isSeparate && keeper.unseenKeys !== undefined) {
    const found = `the keys are where the agent on ${agent} has them, and mariadb-backup copies them only if that is the data directory`;
    return [
      warning(
        found,
        'after every backup, where the agent runs: mariadb-aws-kms backup-keys --keyfile-dir DIRECTORY-OF-THE-AGENT --to DIRECTORY',
      ),
    ];
  }
  if (isKeyfileDirDatadir) return [];
  const found = `${keyfileDir} is in no mariadb-backup: without it no backup can be read`;
  const named = keeper.isSeparate ? `--keyfile-dir ${keyfileDir} ` : '';
  return [warning(found, `after every backup: mariadb-aws-kms backup-keys ${named}--to DIRECTORY`)];
}

function clusterReports(configuration: Configuration): readonly Report[] {
  const { options, isKeyfileDirDatadir, keyfileDir, datadir } = configuration;
  if (options.isOn('wsrep_on', false) !== true) return [];
  const method = options.last('wsrep_sst_method') ?? 'rsync';
  if (method === 'rsync' && isKeyfileDirDatadir) {
    const found = 'wsrep_sst_method = rsync leaves the keys behind: a node that joins would make other ones';
    return [warning(found, 'wsrep_sst_method = mariabackup')];
  }
  if (method.startsWith('maria') && keyfileDir.startsWith(`${datadir}${sep}`)) {
    const found = `a node that joins wipes ${keyfileDir} with its data directory, and no transfer brings it back`;
    return [warning(found, 'keep the keys in the data directory itself, or outside of it')];
  }
  return [];
}
