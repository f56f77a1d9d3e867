import { findAccount } from '../account.ts';
import type { Account, Surroundings } from '../surroundings.ts';
import { passesOn, type ServerVariable, type Service } from './server-environment.ts';
import { findServiceUnit } from './unit.ts';

/** The unit of the separate agent that the packages bring. */
export const AGENT_UNIT = 'mariadb-aws-kms-agent';

/** A separate agent that this machine's systemd starts. */
export interface AgentService {
  /** The directory of its keys. */
  readonly keyfileDir: string;
  /** The user that it runs as; undefined: the machine has no such user. */
  readonly account: Account | undefined;
  readonly service: Service;
}

/**
 * Finds the separate agent behind a socket: the packages' unit, with the administrator's drop-ins and AGENT_OPTIONS.
 * @returns undefined where the unit is not there, or its agent listens elsewhere
 */
export async function findAgentService(socket: string, surroundings: Surroundings): Promise<AgentService | undefined> {
  const { files, paths } = surroundings;
  const unit = await findServiceUnit(files, paths.units, [`${AGENT_UNIT}.service`]);
  if (unit === undefined) return undefined;
  const command = (unit.last('ExecStart') ?? '').replace('$AGENT_OPTIONS', unit.environment.get('AGENT_OPTIONS') ?? '');
  const option = (name: string): string | undefined =>
    [...command.matchAll(new RegExp(`\\s--${name}[= ](\\S+)`, 'g'))].at(-1)?.[1];
  const keyfileDir = option('keyfile-dir');
  if (option('listen') !== socket || keyfileDir === undefined) return undefined;
  const variables = new Map<string, ServerVariable>();
  for (const [name, value] of unit.environment) {
    if (passesOn(name)) variables.set(name, { value, from: `${unit.name} (${unit.origins.get(name)})` });
  }
  const user = unit.last('User');
  return {
    keyfileDir,
    account: user === undefined ? undefined : await findAccount(user, surroundings),
    service: { unit, running: undefined, variables, withheld: [] },
  };
}
