import { basename, dirname, join } from 'node:path';
import { systemErrorCode } from '../../errors.ts';
import { failure, ok, type Report, warning } from '../../finding.ts';
import { ENTER, WRITE } from '../../server/account.ts';
import type { Configuration } from '../../server/configuration.ts';
import { findOutdatedAgent, type KeptConfiguration } from '../../server/key-keeper.ts';
import { findObstacle } from '../../server/obstacle.ts';
import { AGENT_NAME, LIBRARY, optionName, AGENT_SOCKET_PREFIX as SOCKET_PREFIX } from '../../server/plugin-options.ts';
import type { Files, Surroundings } from '../../server/surroundings.ts';
import type { Check } from '../check.ts';

const OTHERS_MAY_WRITE = 0o022;

export const agent: Check = {
  id: 'agent',
  async run({ surroundings, configuration }, signal) {
    const { files } = surroundings;
    const { agent: target } = configuration;
    if (target.startsWith(SOCKET_PREFIX)) {
      return [await lookAtSocket(surroundings, configuration, target.slice(SOCKET_PREFIX.length), signal)];
    }
    const path = target === '' ? await besideLibrary(files, configuration) : target;
    if (!path.startsWith('/')) {
      const found = `aws_key_management_agent: expected an absolute path or unix:, got "${path}"`;
      return [failure(found, ourAgent(configuration))];
    }
    return [await lookAtExecutable(surroundings, configuration, path, signal)];
  },
};

async function lookAtSocket(
  surroundings: Surroundings,
  configuration: KeptConfiguration,
  path: string,
  signal: AbortSignal,
): Promise<Report> {
  const { files } = surroundings;
  const { account, keeper } = configuration;
  const unit = keeper.service.unit?.name.replace(/\.service$/, '');
  const fix =
    unit === undefined
      ? `mariadb-aws-kms agent --listen ${path} --keyfile-dir DIR, or its service, must run before the server`
      : `systemctl enable --now ${unit}; if it does not start: journalctl -u ${unit}`;
  try {
    const facts = await files.stat(path);
    if (!facts.isSocket()) return failure(`${path} is no socket`, fix);
    const obstacle = await findObstacle(files, account, path, WRITE);
    if (obstacle !== undefined)
      return failure(obstacle.found, obstacle.enter ?? 'let the user the server runs as into the group of the agent');
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error;
    return failure(`no agent listens on ${path}`, fix);
  }
  const outdated = keeper.agent && (await findOutdatedAgent(keeper.agent, surroundings, signal));
  if (outdated !== undefined) {
    const { pid, names, places, restart } = outdated;
    const found = `the agent that runs (process ${pid}) was started with other settings than ${places.join(' and ')} now ${places.length === 1 ? 'has' : 'have'}: ${names.join(', ')}`;
    return failure(found, restart);
  }
  return ok(unit === undefined ? `an agent of its own on ${path}` : `${unit} on ${path}, as ${keeper.account.name}`);
}

/** The option that names our agent, as a line of an option file. */
function ourAgent({ pluginDir }: Configuration): string {
  return `${optionName('agent')} = ${join(pluginDir, AGENT_NAME)}`;
}

async function lookAtExecutable(
  { files, run, release, uid }: Surroundings,
  configuration: Configuration,
  path: string,
  signal: AbortSignal,
): Promise<Report> {
  // The fix does not install our agent over a program of another name.
  const install =
    basename(path) === AGENT_NAME ? `install -m 0755 ${AGENT_NAME} ${dirname(path)}/` : ourAgent(configuration);
  try {
    const obstacle = await findObstacle(files, configuration.account, path, ENTER);
    if (obstacle !== undefined) return failure(obstacle.found, obstacle.enter ?? `chmod 0755 ${path}`);
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error;
    return failure(`there is no ${path}`, install);
  }
  if (uid === 0 && (await isOthers(files, path))) {
    // Root would run a file that another user can put there.
    const both = `${dirname(path)} ${path}`;
    return warning(
      `${path} can be replaced by others than root: not run`,
      `chown root:root ${both} && chmod go-w ${both}`,
    );
  }
  const shown = await run(path, ['--version'], signal);
  // The commit follows the release.
  const version = /^(\d+\.\d+\.\d+\S*)(?: \(\S+\))?$/.exec(shown?.stdout.trim() ?? '')?.[1];
  if (shown === undefined || shown.code !== 0 || version === undefined) {
    const said = shown?.stderr.trim().split('\n', 1)[0] || 'no version was printed';
    const fix = said.includes('libatomic') ? 'apt install libatomic1 (Red Hat: dnf install libatomic)' : install;
    return failure(`${path} does not run: ${said}`, fix);
  }
  if (version !== release) {
    return warning(`${path} is of release ${version}, this program of ${release}`, 'install both from one package');
  }
  return ok(`${path}, release ${version}`);
}

async function isOthers(files: Files, path: string): Promise<boolean> {
  const real = await files.realpath(path);
  const facts = await Promise.all([real, dirname(real)].map((each) => files.stat(each)));
  return facts.some(({ uid, mode }) => uid !== 0 || (mode & OTHERS_MAY_WRITE) !== 0);
}

/** Finds the agent as the plugin does: beside the library, or beside the file that a linked library resolves to. */
async function besideLibrary(files: Files, { pluginDir }: Configuration): Promise<string> {
  const beside = join(pluginDir, AGENT_NAME);
  const isThere = await files.stat(beside).then(
    () => true,
    () => false,
  );
  if (isThere) return beside;
  const real = await files.realpath(join(pluginDir, LIBRARY)).catch(() => beside);
  return join(dirname(real), AGENT_NAME);
}
