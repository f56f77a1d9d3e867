import { join } from 'node:path';
import type { Check, Examination } from '../check.ts';
import type { Configuration } from '../configuration.ts';
import { failure, ok, type Report } from '../finding.ts';
import { AGENT_NAME, AGENT_SOCKET_PREFIX } from '../plugin-options.ts';
import type { Files } from '../surroundings.ts';

const BOOLEAN = 'mysql_connect_any';
const PROFILE = /^(?:\/usr\/sbin\/)?(mariadbd|mysqld)(?:\/\/\S+)? \((enforce|complain)\)$/m;

/** What keeps the server from starting its agent, or the agent from AWS. */
export const confinement: Check = {
  id: 'confinement',
  isOptional: true,
  async run(examination) {
    const reports = [...(await selinux(examination)), ...(await apparmor(examination))];
    return reports.length > 0 ? reports : [ok('neither SELinux nor AppArmor confines the server')];
  },
};

async function selinux({ surroundings: { files, paths }, configuration }: Examination): Promise<readonly Report[]> {
  if ((await textOf(files, join(paths.selinux, 'enforce'))).trim() !== '1') return [];
  // The agent asks AWS, not the server: one of its own runs in its own domain.
  if (isSeparateAgent(configuration)) return [ok('SELinux enforces; the agent of its own is in a domain of its own')];
  // Two numbers: the value now, and the one that is pending.
  const value = (await textOf(files, join(paths.selinux, 'booleans', BOOLEAN))).trim();
  if (value.startsWith('1')) return [ok(`SELinux enforces, and ${BOOLEAN} is on`)];
  if (value === '') return [ok(`SELinux enforces a policy without ${BOOLEAN}: it does not confine the server`)];
  const found = `SELinux enforces, and ${BOOLEAN} is off: the agent cannot reach AWS`;
  return [failure(found, `setsebool -P ${BOOLEAN} 1`)];
}

async function apparmor({ surroundings: { files, paths }, configuration }: Examination): Promise<readonly Report[]> {
  const [, program, mode] = PROFILE.exec(await textOf(files, paths.apparmorProfiles)) ?? [];
  if (program === undefined || mode !== 'enforce') return [];
  const name = `usr.sbin.${program}`;
  const local = join(paths.apparmorDirectory, 'local', name);
  const text = (await textOf(files, join(paths.apparmorDirectory, name))) + (await textOf(files, local));
  if (isSeparateAgent(configuration) || text.includes(AGENT_NAME)) {
    return [ok(`AppArmor enforces ${name}, which knows the agent`)];
  }
  const agent = configuration.agent || join(configuration.pluginDir, AGENT_NAME);
  const fix = `echo '${agent} Ux,' >> ${local} && apparmor_parser -r ${join(paths.apparmorDirectory, name)}`;
  return [failure(`AppArmor enforces ${name}, which does not let the server start ${agent}`, fix)];
}

function isSeparateAgent({ agent }: Configuration): boolean {
  return agent.startsWith(AGENT_SOCKET_PREFIX);
}

async function textOf(files: Files, path: string): Promise<string> {
  return await files.readFile(path).then(
    (bytes) => bytes.toString('utf8'),
    () => '',
  );
}
