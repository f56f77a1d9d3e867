import { join } from 'node:path';
import type { Files } from '../surroundings.ts';
import { AGENT_OPTIONS, type AgentLine, parseAgentLine } from './agent-line.ts';
import { parseEnviron, processIds, serviceOf, textOf, userOf } from './processes.ts';
import { PASSED_ON } from './server-environment.ts';
import type { ServiceUnit } from './unit.ts';

/** The process of a separate agent that systemd started. */
export interface RunningAgent {
  readonly pid: number;
  readonly options: AgentLine['options'];
  /** The environment of its start; undefined: the current user may not read it. */
  readonly environment: ReadonlyMap<string, string> | undefined;
}

/**
 * Finds the agent's process in the cgroup of its unit, where only root can place one. Programs that it runs for
 * credentials are there as well.
 */
export async function findRunningAgent(
  files: Files,
  proc: string,
  unit: string,
  uid: number,
): Promise<RunningAgent | undefined> {
  for (const entry of await processIds(files, proc)) {
    const text = async (name: string): Promise<string | undefined> => await textOf(files, join(proc, entry, name));
    if (serviceOf(await text('cgroup')) !== unit || userOf(await text('status')) !== uid) continue;
    const [, ...words] = (await text('cmdline'))?.replace(/\0$/, '').split('\0') ?? [];
    if (words[0] !== 'agent') continue;
    const environment = await text('environ');
    return {
      pid: Number(entry),
      options: parseAgentLine(words).options,
      environment: environment === undefined ? undefined : parseEnviron(environment),
    };
  }
  return undefined;
}

/** Settings that a process was started with, and that differ from those of its unit by now. */
export interface Outdated {
  readonly pid: number;
  /** Names of options (`--region`) and variables; no values, which may be secrets. */
  readonly names: readonly string[];
  /** The files that set them now. */
  readonly places: readonly string[];
}

/**
 * @param optionsFile sets AGENT_OPTIONS and, usually, the variables
 * @param managers names of variables that the service manager gives every service
 */
export async function outdatedSettings(
  { pid, options, environment }: RunningAgent,
  unit: ServiceUnit,
  now: AgentLine['options'],
  optionsFile: string,
  managers: () => Promise<readonly string[]>,
): Promise<Outdated | undefined> {
  const places = new Map<string, string>();
  for (const name of AGENT_OPTIONS) {
    if (options[name] === now[name]) continue;
    const flag = `--${name}`;
    const isInUnit = unit.list('ExecStart').some((word) => word === flag || word.startsWith(`${flag}=`));
    places.set(flag, (isInUnit ? unit.files.at(-1) : undefined) ?? optionsFile);
  }
  if (environment !== undefined) {
    const lost = [...environment.keys()].filter((name) => PASSED_ON.test(name) && !unit.environment.has(name));
    const others = lost.length === 0 ? [] : [...unit.list('PassEnvironment'), ...(await managers())];
    const names = [...unit.environment.keys(), ...lost.filter((name) => !others.includes(name))];
    for (const name of names) {
      if (!PASSED_ON.test(name) || environment.get(name) === unit.environment.get(name)) continue;
      places.set(name, unit.origins.get(name) ?? optionsFile);
    }
  }
  if (places.size === 0) return undefined;
  return { pid, names: [...places.keys()], places: [...new Set(places.values())] };
}
