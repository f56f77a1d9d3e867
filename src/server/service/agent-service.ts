import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { findAccount, findGroup } from '../account.ts';
import type { Account, Surroundings } from '../surroundings.ts';
import { NO_SERVICE, type Service, variablesOfUnit } from './server-environment.ts';
import { findServiceUnit, type ServiceUnit } from './unit.ts';
import { splitWords } from './unit-text.ts';

/** The unit of the separate agent that the packages bring. */
export const AGENT_UNIT = 'mariadb-aws-kms-agent';

/** Options of `mariadb-aws-kms agent`, as they are written; empty where one is not given. */
export interface AgentOptions {
  readonly region: string;
  readonly endpointUrl: string;
  readonly failoverRegions: string;
  readonly isMock: boolean;
}

/** A separate agent that this machine's systemd starts. */
export interface AgentService {
  readonly unit: ServiceUnit;
  /** The directory of its keys, absolute. */
  readonly keyfileDir: string;
  readonly options: AgentOptions;
  /** The user that it runs as; undefined: the machine has no such user. */
  readonly account: Account | undefined;
  readonly service: Service;
}

/**
 * Finds the separate agent behind a socket: the packages' unit, with the administrator's drop-ins and AGENT_OPTIONS.
 * @returns undefined where the unit is not there or cannot be read, or its agent listens elsewhere
 */
export async function findAgentService(socket: string, surroundings: Surroundings): Promise<AgentService | undefined> {
  const { files, paths } = surroundings;
  const unit = await findServiceUnit(files, paths.units, [`${AGENT_UNIT}.service`]).catch(() => undefined);
  if (unit === undefined) return undefined;
  const { listen, keyfileDir, ...options } = optionsOf(unit);
  if (listen !== socket) return undefined;
  return {
    unit,
    keyfileDir: resolve('/', keyfileDir),
    options,
    account: await accountOf(unit, surroundings),
    service: { ...NO_SERVICE, unit, variables: variablesOfUnit(unit) },
  };
}

/** The options of `mariadb-aws-kms agent` in ExecStart=, with variables expanded as systemd does. */
function optionsOf(unit: ServiceUnit): AgentOptions & { readonly listen: string; readonly keyfileDir: string } {
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
  const given = (name: keyof typeof values): string => {
    const found = values[name];
    return typeof found === 'string' ? found : '';
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

/** The unit's user, with the group that it names. */
async function accountOf(unit: ServiceUnit, surroundings: Surroundings): Promise<Account | undefined> {
  const user = await findAccount(unit.last('User') ?? 0, surroundings);
  const group = unit.last('Group');
  const gid = group === undefined ? undefined : await findGroup(group, surroundings);
  if (user === undefined || group === undefined || gid === undefined) return user;
  return { ...user, gid, group, groups: [gid, ...user.groups] };
}
