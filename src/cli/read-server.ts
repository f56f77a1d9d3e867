import { KeyError } from '../errors.ts';
import type { SettingName } from '../format/settings.ts';
import { within } from '../kms/retry.ts';
import { type Configuration, readConfiguration } from '../server/configuration.ts';
import { AGENT_SOCKET_PREFIX } from '../server/plugin-options.ts';
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

/**
 * Refuses a server with a separate agent, whose key directory the server's options do not tell.
 * @throws KeyError BAD_OPTION
 */
export function assertKeysAreServers({ agent }: Configuration): void {
  if (!agent.startsWith(AGENT_SOCKET_PREFIX)) return;
  throw new KeyError('BAD_OPTION', `the keys of this server are where its agent has them, which listens on ${agent}`, {
    hint: "name the agent's directory, where it is: --keyfile-dir DIRECTORY",
  });
}
