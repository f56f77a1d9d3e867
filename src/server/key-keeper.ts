import { dirname } from 'node:path';
import { toKeyError } from '../errors.ts';
import { failure, type Report } from '../finding.ts';
import { inAgentTerms } from '../format/agent-terms.ts';
import { problemOfEndpointUrl } from '../format/endpoint-url.ts';
import { type FailoverRegion, parseFailoverRegions } from '../format/failover-regions.ts';
import { REGION } from '../format/region.ts';
import { findAccount } from './account.ts';
import type { Configuration } from './configuration.ts';
import { AGENT_SOCKET_PREFIX, CREDENTIALS_FILE, optionName } from './plugin-options.ts';
import { AGENT_UNIT, type AgentService, findAgentService } from './service/agent-service.ts';
import { findRunningAgent, type Outdated, outdatedSettings } from './service/running-agent.ts';
import { NO_SERVICE, type Service } from './service/server-environment.ts';
import type { ServiceUnit } from './service/unit.ts';
import { splitWords } from './service/unit-text.ts';
import type { Account, Surroundings } from './surroundings.ts';

const AGENT_DEFAULTS = '/etc/default/mariadb-aws-kms';

/** The process that has the key files and asks KMS: the agent that the server starts, or a separate one. */
export interface KeyKeeper {
  /** The user who owns the key files, and whose AWS identity counts. */
  readonly account: Account;
  readonly isSeparate: boolean;
  /** The service that starts it, and the AWS variables that it gets. */
  readonly service: Service;
  /** The reason why its key files cannot be looked at; undefined: they can. */
  readonly unseenKeys: string | undefined;
  /** The same of its identity, Region and endpoint. */
  readonly unseenIdentity: string | undefined;
  /** A separate agent that a known unit starts. */
  readonly agent?: AgentService;
}

export interface OutdatedAgent extends Outdated {
  /** A shell command that starts it with the settings of now. */
  readonly restart: string;
}

/** A configuration whose key directory, Region, endpoint and mock mode are those of the process that has the keys. */
export interface KeptConfiguration extends Configuration {
  readonly keeper: KeyKeeper;
}

/** Finds the process that has the keys. A separate agent ignores what the server's options say about its own part. */
export async function findKeyKeeper(
  configuration: Configuration,
  surroundings: Surroundings,
): Promise<KeptConfiguration> {
  const { agent, account, service } = configuration;
  if (!agent.startsWith(AGENT_SOCKET_PREFIX)) {
    const keeper = { account, isSeparate: false, service, unseenKeys: undefined, unseenIdentity: undefined };
    return { ...configuration, keeper };
  }
  const socket = agent.slice(AGENT_SOCKET_PREFIX.length);
  const found = await findAgentService(socket, surroundings);
  if (found === undefined) return await unknownAgent(configuration, socket, surroundings);
  const { uid } = surroundings;
  const { unit, account: user } = found;
  const unread = unit.unreadable[0]?.path;
  const isBlind = uid !== 0 && uid !== user?.uid;
  const unseen = isBlind ? `only root and ${unit.last('User')} see the keys and the identity of the agent` : undefined;
  return {
    ...configuration,
    ...agentSettings(configuration, found),
    keeper: {
      account: user ?? account,
      isSeparate: true,
      service: found.service,
      unseenKeys: user === undefined ? `there is no user ${unit.last('User')}, as which ${unit.name} runs` : unseen,
      unseenIdentity: unseen ?? (unread === undefined ? undefined : `${unread} of ${unit.name} cannot be read`),
      agent: found,
    },
  };
}

/**
 * Finds the process of a separate agent that was started with other settings than its unit has now. An agent whose unit
 * could not start now is not called outdated: it runs, and would not after a restart.
 */
export async function findOutdatedAgent(
  { unit, account, line: { options, refused } }: AgentService,
  { files, paths, run }: Surroundings,
  signal: AbortSignal,
): Promise<OutdatedAgent | undefined> {
  if (account === undefined || refused.length > 0 || unit.unreadable.length > 0) return undefined;
  const running = await findRunningAgent(files, paths.proc, unit.name, account.uid);
  if (running === undefined) return undefined;
  const managers = async (): Promise<readonly string[]> => {
    const shown = await run('systemctl', ['show-environment'], signal);
    return (shown?.stdout ?? '').split('\n').map((each) => each.replace(/=.*/s, ''));
  };
  const outdated = await outdatedSettings(running, unit, options, optionsFile(unit), managers);
  if (outdated === undefined) return undefined;
  const reload = outdated.places.some((path) => unit.files.includes(path)) ? 'systemctl daemon-reload && ' : '';
  return { ...outdated, restart: `${reload}${restartOf(unit)}` };
}

/** Options of doctor's own command line still count more. */
function agentSettings(
  configuration: Configuration,
  { unit, line, keyfileDir: directory }: AgentService,
): Pick<
  Configuration,
  'keyfileDir' | 'isKeyfileDirDatadir' | 'region' | 'endpointUrl' | 'failoverRegions' | 'isMock' | 'reports'
> {
  const { variables } = configuration.request;
  const { datadir } = configuration;
  const keyfileDir = variables.keyfile_dir === undefined ? directory : configuration.keyfileDir;
  const { region = '', 'endpoint-url': endpointUrl = '', 'failover-regions': failoverRegions = '' } = line.options;
  const isMock = line.options.mock !== undefined;
  const reports: Report[] = line.refused.map(({ word, reason }) => {
    const fix = `correct it in ${placeOfWord(unit, word)}, then: ${restartOf(unit)}`;
    return failure(`${unit.name} does not start: the agent ${reason}`, fix);
  });
  const expect = (isRight: boolean, option: string): void => {
    // The value is not repeated: an endpoint may contain a password.
    if (!isRight)
      reports.push(failure(`${unit.name}: ${option} is not understood`, `correct it in ${optionsFile(unit)}`));
  };
  const isRegion = region === '' || REGION.test(region);
  const isEndpoint = endpointUrl === '' || problemOfEndpointUrl(endpointUrl) === undefined;
  expect(isRegion, '--region');
  expect(isEndpoint, '--endpoint-url');
  return {
    keyfileDir,
    isKeyfileDirDatadir: keyfileDir === datadir,
    region: variables.region === undefined ? (isRegion ? region : '') : configuration.region,
    endpointUrl: variables.endpoint_url === undefined ? (isEndpoint ? endpointUrl : '') : configuration.endpointUrl,
    failoverRegions:
      variables.failover_regions === undefined
        ? failover(failoverRegions, unit, reports)
        : configuration.failoverRegions,
    isMock: variables.mock === undefined ? isMock : configuration.isMock,
    reports: [...configuration.reports, ...reports],
  };
}

function failover(text: string, unit: ServiceUnit, reports: Report[]): readonly FailoverRegion[] {
  try {
    return parseFailoverRegions(text);
  } catch (thrown) {
    reports.push(failure(`${unit.name}: ${toKeyError(thrown).message}`, `correct it in ${optionsFile(unit)}`));
    return [];
  }
}

/** The setting that has a word of the agent's command line, and its file. */
function placeOfWord(unit: ServiceUnit, word: string): string {
  const inOptions = splitWords(unit.environment.get('AGENT_OPTIONS') ?? '');
  if (inOptions.some((each) => each.split('=', 1)[0] === word)) return `AGENT_OPTIONS of ${optionsFile(unit)}`;
  return `ExecStart= of ${unit.name} (systemctl edit --full ${unit.name})`;
}

/** The file in which the options and AWS variables of the unit are set. */
function optionsFile(unit: ServiceUnit): string {
  return unit.origins.get('AGENT_OPTIONS') ?? AGENT_DEFAULTS;
}

/** An agent that no known unit starts: of its user only the socket tells, of its keys only a flag or an option. */
async function unknownAgent(
  configuration: Configuration,
  socket: string,
  surroundings: Surroundings,
): Promise<KeptConfiguration> {
  const { request, options } = configuration;
  const isGiven = request.variables.keyfile_dir !== undefined || options.last(optionName('keyfile_dir')) !== undefined;
  const owner = await surroundings.files.stat(socket).then(
    ({ uid }) => findAccount(uid, surroundings),
    () => undefined,
  );
  const unseenIdentity = `the agent on ${socket} is not that of ${AGENT_UNIT}.service: its user, credentials and Region are not known here`;
  const unseenKeys = isGiven
    ? owner === undefined && 'no socket tells which user the agent runs as'
    : 'the keys are in the directory of the agent: give it with --keyfile-dir';
  return {
    ...configuration,
    isMock: false,
    keeper: {
      account: owner ?? configuration.account,
      isSeparate: true,
      service: NO_SERVICE,
      unseenKeys: unseenKeys || undefined,
      unseenIdentity,
    },
  };
}

/** The line that sets one of the agent's settings, and its place; for a separate agent that is no option file. */
export function settingCure(
  { keeper: { isSeparate, service } }: KeptConfiguration,
  name: 'region' | 'endpoint_url',
  value: string,
): string {
  if (!isSeparate || service.unit === undefined) return `${optionName(name)} = ${value}`;
  const flag = `--${name.replaceAll('_', '-')} ${value}`;
  return `${flag} in AGENT_OPTIONS of ${optionsFile(service.unit)}, then: ${restartOf(service.unit)}`;
}

/** A hint about the plugin's options, in the terms of the process that has the keys: its own flags if it is separate. */
export function keeperHint({ isSeparate }: KeyKeeper, hint: string): string {
  return isSeparate ? inAgentTerms(hint) : hint;
}

/** The way to give a separate agent credentials. */
export function credentialsCure({ account, service: { unit } }: KeyKeeper): string {
  const file = CREDENTIALS_FILE;
  const make = `install -d -m 0755 ${dirname(file)} && install -o ${account.name} -m 0600 /dev/null ${file}`;
  const where = unit === undefined ? AGENT_DEFAULTS : optionsFile(unit);
  const restart = unit === undefined ? '' : `, then: ${restartOf(unit)}`;
  return `give the machine a role, or: ${make}; write the keys into it, and AWS_SHARED_CREDENTIALS_FILE=${file} into ${where}${restart}`;
}

function restartOf({ name }: ServiceUnit): string {
  return `systemctl restart ${name.replace(/\.service$/, '')}`;
}
