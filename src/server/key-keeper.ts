import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { toKeyError } from '../errors.ts';
import { failure, type Report } from '../finding.ts';
import { problemOfEndpointUrl } from '../format/endpoint-url.ts';
import { type FailoverRegion, parseFailoverRegions } from '../format/failover-regions.ts';
import { REGION } from '../format/region.ts';
import { findAccount, findGroup } from './account.ts';
import type { Configuration } from './configuration.ts';
import { AGENT_SOCKET_PREFIX, optionName } from './plugin-options.ts';
import { NO_SERVICE, type Service, variablesOfUnit } from './service/server-environment.ts';
import { findServiceUnit, type ServiceUnit } from './service/unit.ts';
import { splitWords } from './service/unit-text.ts';
import type { Account, Surroundings } from './surroundings.ts';

/** The separate agent's unit of the package. */
export const AGENT_SERVICE = 'mariadb-aws-kms-agent.service';
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
  const { files, paths, uid } = surroundings;
  const unit = await findServiceUnit(files, paths.units, [AGENT_SERVICE]).catch(() => undefined);
  const command = unit === undefined ? {} : commandOf(unit);
  if (unit === undefined || command.listen !== socket) return await unknownAgent(configuration, socket, surroundings);
  const user = await unitAccount(unit, surroundings);
  const unread = unit.unreadable[0]?.path;
  const isBlind = uid !== 0 && uid !== user?.uid;
  const unseen = isBlind ? `only root and ${unit.last('User')} see the keys and the identity of the agent` : undefined;
  return {
    ...configuration,
    ...agentSettings(configuration, command, unit),
    keeper: {
      account: user ?? account,
      isSeparate: true,
      service: { ...NO_SERVICE, unit, variables: variablesOfUnit(unit) },
      unseenKeys: user === undefined ? `there is no user ${unit.last('User')}, as which ${unit.name} runs` : unseen,
      unseenIdentity: unseen ?? (unread === undefined ? undefined : `${unread} of ${unit.name} cannot be read`),
    },
  };
}

interface AgentCommand {
  readonly listen?: string | undefined;
  readonly keyfileDir?: string | undefined;
  readonly region?: string | undefined;
  readonly endpointUrl?: string | undefined;
  readonly failoverRegions?: string | undefined;
  readonly isMock?: boolean;
}

/** The options of `mariadb-aws-kms agent` in ExecStart=, with variables expanded as systemd does. */
function commandOf(unit: ServiceUnit): AgentCommand {
  const value = (name: string): string => unit.environment.get(name) ?? '';
  const words = unit.list('ExecStart').flatMap((word) => {
    const alone = /^\$(\w+)$/.exec(word)?.[1];
    if (alone !== undefined) return splitWords(value(alone));
    return [word.replace(/\$\{(\w+)\}/g, (_, name: string) => value(name))];
  });
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: words.slice(1),
    strict: false,
    allowPositionals: true,
    options: {
      listen: text,
      'keyfile-dir': text,
      region: text,
      'endpoint-url': text,
      'failover-regions': text,
      mock: { type: 'boolean' },
    },
  });
  const given = (name: keyof typeof values): string | undefined => {
    const found = values[name];
    return typeof found === 'string' ? found : undefined;
  };
  return {
    listen: given('listen'),
    keyfileDir: given('keyfile-dir'),
    region: given('region'),
    endpointUrl: given('endpoint-url'),
    failoverRegions: given('failover-regions'),
    isMock: values['mock'] === true,
  };
}

/** Options of doctor's own command line still count more. */
function agentSettings(
  configuration: Configuration,
  command: AgentCommand,
  unit: ServiceUnit,
): Pick<
  Configuration,
  'keyfileDir' | 'isKeyfileDirDatadir' | 'region' | 'endpointUrl' | 'failoverRegions' | 'isMock' | 'reports'
> {
  const { variables } = configuration.request;
  const { datadir } = configuration;
  const keyfileDir =
    variables.keyfile_dir === undefined ? resolve(command.keyfileDir ?? '/') : configuration.keyfileDir;
  const region = command.region ?? '';
  const endpointUrl = command.endpointUrl ?? '';
  const reports: Report[] = [];
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
      variables.failover_regions === undefined ? failover(command, unit, reports) : configuration.failoverRegions,
    isMock: variables.mock === undefined ? command.isMock === true : configuration.isMock,
    reports: [...configuration.reports, ...reports],
  };
}

function failover({ failoverRegions }: AgentCommand, unit: ServiceUnit, reports: Report[]): readonly FailoverRegion[] {
  try {
    return parseFailoverRegions(failoverRegions ?? '');
  } catch (thrown) {
    reports.push(failure(`${unit.name}: ${toKeyError(thrown).message}`, `correct it in ${optionsFile(unit)}`));
    return [];
  }
}

/** The file in which the options and AWS variables of the unit are set. */
function optionsFile(unit: ServiceUnit): string {
  return unit.origins.get('AGENT_OPTIONS') ?? AGENT_DEFAULTS;
}

async function unitAccount(unit: ServiceUnit, surroundings: Surroundings): Promise<Account | undefined> {
  const user = await findAccount(unit.last('User') ?? 0, surroundings);
  const group = unit.last('Group');
  const gid = group === undefined ? undefined : await findGroup(group, surroundings);
  if (user === undefined || group === undefined || gid === undefined) return user;
  return { ...user, gid, group, groups: [gid, ...user.groups] };
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
  const unseenIdentity = `the agent on ${socket} is not that of ${AGENT_SERVICE}: its user, credentials and Region are not known here`;
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

/** The way to give a separate agent credentials. */
export function credentialsCure({ account, service: { unit } }: KeyKeeper): string {
  const file = '/etc/mariadb-aws-kms/credentials';
  const make = `install -d -m 0755 /etc/mariadb-aws-kms && install -o ${account.name} -m 0600 /dev/null ${file}`;
  const where = unit === undefined ? AGENT_DEFAULTS : optionsFile(unit);
  const restart = unit === undefined ? '' : `, then: ${restartOf(unit)}`;
  return `give the machine a role, or: ${make}; write the keys into it, and AWS_SHARED_CREDENTIALS_FILE=${file} into ${where}${restart}`;
}

function restartOf({ name }: ServiceUnit): string {
  return `systemctl restart ${name.replace(/\.service$/, '')}`;
}
