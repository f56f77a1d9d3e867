import { KeyError } from '../errors.ts';
import type { SettingName } from '../format/settings.ts';
import { KEYS_FOR_CALLER, keysNamedBy, type Named } from '../keystore/failures.ts';
import { within } from '../kms/retry.ts';
import { type Configuration, readConfiguration } from '../server/configuration.ts';
import { AGENT_SOCKET_PREFIX } from '../server/plugin-options.ts';
import { AGENT_UNIT, findAgentService } from '../server/service/agent-service.ts';
import type { Surroundings } from '../server/surroundings.ts';
import { defaultsOf, type OptionFileOptions } from './option-files.ts';

const READ_MS = 10_000;

export interface ServerFlags {
  readonly datadir?: string | undefined;
  readonly variables: Readonly<Partial<Record<SettingName, string | undefined>>>;
}

/**
 * Reads the options that the server would be started with.
 * @throws KeyError BAD_OPTION when its option files cannot be read
 */
export async function readServer(
  options: OptionFileOptions,
  { datadir, variables }: ServerFlags,
  surroundings: Surroundings,
): Promise<Configuration> {
  const given = Object.entries(variables).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const request = {
    defaults: defaultsOf(options),
    groups: options.group,
    datadir,
    pluginDir: undefined,
    user: undefined,
    variables: Object.fromEntries(given),
    stsEndpointUrl: '',
    deep: false,
  };
  const configuration = await within(surroundings.clock, READ_MS, (late) =>
    readConfiguration(request, surroundings, late),
  );
  const { unread, reports } = configuration;
  if (unread !== undefined && options.defaults) {
    const hint = reports.find(({ status }) => status === 'failure')?.fix;
    throw new KeyError('BAD_OPTION', unread, { hint });
  }
  return configuration;
}

/** The keys of a server, for a command that works on them. */
export interface KeyPlace {
  readonly directory: string;
  readonly named: Named;
}

/**
 * Returns the key directory of a server: of its options, or of the unit of its separate agent.
 * @throws KeyError BAD_OPTION where neither tells it
 */
export async function keyPlaceOf({ agent, keyfileDir }: Configuration, surroundings: Surroundings): Promise<KeyPlace> {
  if (!agent.startsWith(AGENT_SOCKET_PREFIX)) return { directory: keyfileDir, named: KEYS_FOR_CALLER };
  const found = await findAgentService(agent.slice(AGENT_SOCKET_PREFIX.length), surroundings);
  if (found !== undefined) return { directory: found.keyfileDir, named: keysNamedBy(`${AGENT_UNIT}.service`) };
  throw new KeyError('BAD_OPTION', `the keys of this server are where its agent has them, which listens on ${agent}`, {
    hint: `${AGENT_UNIT}.service of this machine does not listen there: name the agent's directory, where it is: --keyfile-dir DIRECTORY`,
  });
}

/**
 * Returns the key directory that `--keyfile-dir` names, or that of the server.
 * @param keyfileDir the value of the option, which `server` was read with
 * @throws KeyError BAD_OPTION as `keyPlaceOf`
 */
export async function namedKeyPlace(
  server: Configuration,
  keyfileDir: string | undefined,
  surroundings: Surroundings,
): Promise<KeyPlace> {
  if (keyfileDir === undefined) return await keyPlaceOf(server, surroundings);
  return { directory: server.keyfileDir, named: keysNamedBy('--keyfile-dir') };
}

/** Returns the server as whoever opens its keys: with the user and variables of its separate agent, if it has one. */
export async function asKeyOwner(server: Configuration, surroundings: Surroundings): Promise<Configuration> {
  if (!server.agent.startsWith(AGENT_SOCKET_PREFIX)) return server;
  const found = await findAgentService(server.agent.slice(AGENT_SOCKET_PREFIX.length), surroundings);
  if (found?.account === undefined) return server;
  return { ...server, account: found.account, service: found.service };
}
