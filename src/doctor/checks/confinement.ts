import { join } from 'node:path';
import { systemErrorCode } from '../../errors.ts';
import { failure, ok, type Report, warning } from '../../finding.ts';
import type { Configuration } from '../../server/configuration.ts';
import { sharedFilePaths } from '../../server/kms-target.ts';
import { AGENT_NAME, AGENT_SOCKET_PREFIX, KEY_DIRECTORY } from '../../server/plugin-options.ts';
import { sandboxOf } from '../../server/service/sandbox.ts';
import type { Files } from '../../server/surroundings.ts';
import type { Check, Examination } from '../check.ts';

const BOOLEAN = 'mysql_connect_any';
/** The SELinux type that the policy lets the server write. */
const DATA_TYPE = 'mysqld_db_t';
const AGENT_PROFILE = 'mariadb-aws-kms-agent';
/** Sockets that Debian's profile of the server lets it use. */
const SERVER_SOCKETS = /^\/run\/(?:mysqld|mariadbd)\//;
/** A rule about the socket of a separate agent. */
const KNOWS_SOCKET = /^(?!\s*#).*mariadb-aws-kms/m;
/** A rule that executes the agent. */
const EXECUTES_AGENT = /^(?!\s*#)(?=.*(?:aws_key_management_agent|mariadb-aws-kms))(?:.*\s)?[a-zA-Z]*x[\s,]/m;
/** Such a rule, with the shipped profile. */
const NEEDS_PROFILE = new RegExp(`^(?!\\s*#).*-> ${AGENT_PROFILE},`, 'm');
const PROFILE = /^(?:\/usr\/sbin\/)?(mariadbd|mysqld) \((enforce|complain)\)$/m;

/** Finds sandboxes that keep the server from starting its agent, or the agent from its keys and from AWS. */
export const confinement: Check = {
  id: 'confinement',
  isOptional: true,
  async run(examination, signal) {
    const reports = [
      ...(await systemd(examination)),
      ...(await selinux(examination, signal)),
      ...(await apparmor(examination)),
    ];
    return reports.length > 0 ? reports : [ok('neither systemd nor SELinux nor AppArmor is in the way')];
  },
};

/** Reports access that the unit denies although file modes allow it. */
async function systemd({ surroundings, configuration }: Examination): Promise<readonly Report[]> {
  const { unit } = configuration.service;
  if (unit === undefined) return [];
  const { files } = surroundings;
  const sandbox = sandboxOf(unit);
  const edit = (line: string): string => `systemctl edit ${unit.name}: [Service], then ${line}`;
  const reports: Report[] = [];
  const separate = isSeparateAgent(configuration);
  const socket = separate ? [configuration.agent.slice(AGENT_SOCKET_PREFIX.length)] : [];
  const shared = sharedFilePaths(surroundings, configuration);
  const read = separate ? socket : [...shared, surroundings.environment['AWS_CA_BUNDLE'] ?? ''];
  if (!separate) {
    const directory = await files.realpath(configuration.keyfileDir).catch(() => configuration.keyfileDir);
    const { access, because } = sandbox.accessTo(directory);
    if (access !== 'write') {
      const verb = access === 'none' ? 'not be seen' : 'be read only';
      const found = `${because} of ${unit.name}: ${directory} can ${verb}, no new keys can be stored there`;
      const fix = `keep the keys below /var/lib: ${KEY_DIRECTORY}; or ${edit(`ReadWritePaths=${directory}`)}`;
      reports.push(access === 'none' || configuration.masterKeyId !== '' ? failure(found, fix) : warning(found, fix));
    }
  }
  for (const path of read) {
    const isThere = await files.stat(path).then(
      () => true,
      () => false,
    );
    const { access, because } = sandbox.accessTo(path);
    if (!isThere || access !== 'none') continue;
    const found = `${because} of ${unit.name}: the server does not see ${path}`;
    reports.push(failure(found, `keep it elsewhere, such as below /etc/mariadb-aws-kms`));
  }
  if (!separate && sandbox.noNetwork !== undefined) {
    const found = `${sandbox.noNetwork} of ${unit.name}: the agent cannot reach AWS`;
    const fix = 'run the agent on its own: aws_key_management_agent = unix:/run/mariadb-aws-kms/agent.sock';
    reports.push(failure(found, fix));
  }
  if (!separate && sandbox.deniesJit) {
    reports.push(ok(`MemoryDenyWriteExecute of ${unit.name}: the agent runs without its JIT compiler`));
  }
  return reports;
}

async function selinux(examination: Examination, signal: AbortSignal): Promise<readonly Report[]> {
  const { surroundings, configuration } = examination;
  const { files, paths } = surroundings;
  if ((await textOf(files, join(paths.selinux, 'enforce')))?.trim() !== '1') return [];
  if (isSeparateAgent(configuration)) {
    return [ok('SELinux enforces; whether it lets the server connect to the agent shows: ausearch -m AVC -c mariadbd')];
  }
  // The file has two numbers: the current and the pending value.
  const value = (await textOf(files, join(paths.selinux, 'booleans', BOOLEAN)))?.trim();
  if (value === undefined) return [ok(`SELinux enforces a policy without ${BOOLEAN}: it does not confine the server`)];
  const mislabelled = await labelReport(examination, signal);
  const reports = mislabelled === undefined ? [] : [mislabelled];
  if (value.startsWith('1')) return [...reports, ok(`SELinux enforces, and ${BOOLEAN} is on`)];
  const found = `SELinux enforces, and ${BOOLEAN} is off: the agent cannot reach AWS`;
  return [...reports, failure(found, `setsebool -P ${BOOLEAN} 1`)];
}

/** The agent that the server starts runs in the server's SELinux domain, and writes the keys. */
async function labelReport(
  { surroundings: { run }, configuration: { keyfileDir } }: Examination,
  signal: AbortSignal,
): Promise<Report | undefined> {
  const label = (await run('stat', ['-L', '-c', '%C', keyfileDir], signal))?.stdout.trim() ?? '';
  const type = label.split(':')[2];
  if (type === undefined || type === DATA_TYPE) return undefined;
  const fix = `semanage fcontext -a -t ${DATA_TYPE} '${keyfileDir}(/.*)?' && restorecon -Rv ${keyfileDir}`;
  return warning(`SELinux enforces, and ${keyfileDir} is ${type}, not ${DATA_TYPE}: no new keys can be stored`, fix);
}

async function apparmor({ surroundings: { files, paths }, configuration }: Examination): Promise<readonly Report[]> {
  let profiles: string | undefined;
  try {
    profiles = await textOf(files, paths.apparmorProfiles);
  } catch {
    return [warning(`${paths.apparmorProfiles} cannot be read: AppArmor may confine the server`, 'run this as root')];
  }
  const [, program, mode] = PROFILE.exec(profiles ?? '') ?? [];
  if (program === undefined || mode !== 'enforce') return [];
  const name = await profileFile(files, paths.apparmorDirectory, program);
  const local = join(paths.apparmorDirectory, 'local', name);
  const texts = [await textOf(files, join(paths.apparmorDirectory, name)), await textOf(files, local)];
  const has = (rule: RegExp): boolean => texts.some((text) => text !== undefined && rule.test(text));
  const server = join(paths.apparmorDirectory, name);
  const profile = join(paths.apparmorShipped, AGENT_PROFILE);
  const installed = join(paths.apparmorDirectory, AGENT_PROFILE);
  const install = `install -m 0644 ${profile} ${paths.apparmorDirectory}/`;
  const knows = ok(`AppArmor enforces ${name}, which knows the agent`);
  if (isSeparateAgent(configuration)) {
    if (has(KNOWS_SOCKET)) return [knows];
    const socket = configuration.agent.slice(AGENT_SOCKET_PREFIX.length);
    if (SERVER_SOCKETS.test(socket)) return [ok(`AppArmor enforces ${name}, which allows ${socket}`)];
    const found = `AppArmor enforces ${name}, whose rules do not name ${socket}`;
    return [warning(found, `echo '${socket} rw,' >> ${local} && apparmor_parser -r ${server}`)];
  }
  if (has(EXECUTES_AGENT)) {
    if (!has(NEEDS_PROFILE) || profiles?.split('\n').some((line) => line.startsWith(`${AGENT_PROFILE} (`)))
      return [knows];
    const found = `AppArmor enforces ${name}, which starts the agent under the profile ${AGENT_PROFILE}; it is not loaded`;
    const isInstalled = (await textOf(files, installed)) !== undefined;
    return [failure(found, `${isInstalled ? '' : `${install} && `}apparmor_parser -r ${installed}`)];
  }
  const agent = configuration.agent || join(configuration.pluginDir, AGENT_NAME);
  const found = `AppArmor enforces ${name}, which does not let the server start ${agent}`;
  // The shipped rules are about the installed program, which they name by its path.
  if (
    (await files.realpath(agent).catch(() => agent)) !== paths.program ||
    (await textOf(files, profile)) === undefined
  )
    return [failure(found, `echo '${agent} Ux,' >> ${local} && apparmor_parser -r ${server}`)];
  const add = `cat ${join(paths.apparmorShipped, 'local-mariadbd')} >> ${local}`;
  const load = `apparmor_parser -r ${installed} ${server}`;
  return [failure(found, `${install} && ${add} && ${load}; or use the agent as a service of its own`)];
}

/** The profile is named for the program or, in older releases, for its path. */
async function profileFile(files: Files, directory: string, program: string): Promise<string> {
  return (await textOf(files, join(directory, program))) === undefined ? `usr.sbin.${program}` : program;
}

function isSeparateAgent({ agent }: Configuration): boolean {
  return agent.startsWith(AGENT_SOCKET_PREFIX);
}

/** Returns undefined when there is no such file, and throws when it cannot be read. */
async function textOf(files: Files, path: string): Promise<string | undefined> {
  try {
    return (await files.readFile(path)).toString('utf8');
  } catch (error) {
    if (/^(?:ENOENT|ENOTDIR|EINVAL)$/.test(systemErrorCode(error) ?? '')) return undefined;
    throw error;
  }
}
