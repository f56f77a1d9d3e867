import { resolve } from 'node:path';
import { findAccount, findGroup } from '../account.ts';
import type { Account, Surroundings } from '../surroundings.ts';
import { type AgentLine, parseAgentLine } from './agent-line.ts';
import { NO_SERVICE, type Service, variablesOfUnit } from './server-environment.ts';
import { findServiceUnit, type ServiceUnit } from './unit.ts';
import { splitWords } from './unit-text.ts';

/** The unit of the separate agent that the packages bring. */
export const AGENT_UNIT = 'mariadb-aws-kms-agent';

/** A separate agent that this machine's systemd starts. */
export interface AgentService {
  readonly unit: ServiceUnit;
  /** The directory of its keys, absolute. */
  readonly keyfileDir: string;
  readonly line: AgentLine;
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
  const line = parseAgentLine(wordsOf(unit));
  if (line.options.listen !== socket) return undefined;
  return {
    unit,
    keyfileDir: resolve('/', line.options['keyfile-dir'] ?? ''),
    line,
    account: await accountOf(unit, surroundings),
    service: { ...NO_SERVICE, unit, variables: variablesOfUnit(unit) },
  };
}

/** The words of ExecStart= after the program, with variables expanded as systemd does. */
function wordsOf(unit: ServiceUnit): readonly string[] {
  const value = (name: string): string => unit.environment.get(name) ?? '';
  const words = unit.list('ExecStart').flatMap((word) => {
    const alone = /^\$(\w+)$/.exec(word)?.[1];
    if (alone !== undefined) return splitWords(value(alone));
    return [word.replace(/\$\{(\w+)\}/g, (_, name: string) => value(name))];
  });
  return words.slice(1);
}

/** The unit's user, with the group that it names. */
async function accountOf(unit: ServiceUnit, surroundings: Surroundings): Promise<Account | undefined> {
  const user = await findAccount(unit.last('User') ?? 0, surroundings);
  const group = unit.last('Group');
  const gid = group === undefined ? undefined : await findGroup(group, surroundings);
  if (user === undefined || group === undefined || gid === undefined) return user;
  return { ...user, gid, group, groups: [gid, ...user.groups] };
}
