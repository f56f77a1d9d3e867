import { dirname, join } from 'node:path';
import { findAccount } from '../server/account.ts';
import type { Configuration } from '../server/configuration.ts';
import type { Surroundings } from '../server/surroundings.ts';
import { askRunningServer, type ServerState } from './ask-server.ts';
import { AGENT_USER, OPTION_FILE, type SetupPaths } from './paths.ts';
import { refused } from './refused.ts';
import type { Site } from './server-steps.ts';
import { starterOf, unitOf } from './starter.ts';

/** The server that is to be set up, as it was found. */
export interface Survey {
  readonly configuration: Configuration;
  readonly site: Site;
  readonly server: ServerState;
}

/** @throws KeyError SETUP_REFUSED */
export async function surveyServer(
  configuration: Configuration,
  surroundings: Surroundings,
  paths: SetupPaths,
  signal: AbortSignal,
): Promise<Survey> {
  const optionDirectory = await firstDirectory(paths.optionDirectories, surroundings);
  if (optionDirectory === undefined) {
    throw refused(
      `none of these directories of option files is here: ${paths.optionDirectories.join(', ')}`,
      `install the server first (Debian: apt-get install mariadb-server); a server with another layout is set up by hand: copy ${join(dirname(surroundings.paths.apparmorShipped), OPTION_FILE)} to where it reads option files`,
    );
  }
  return {
    configuration,
    server: await askRunningServer(surroundings, configuration.request.defaults, signal),
    site: {
      paths,
      system: surroundings.paths,
      starter: await starterOf(surroundings),
      unit: unitOf(configuration),
      optionDirectory,
      server: configuration.account,
      agent: await findAccount(AGENT_USER, surroundings),
    },
  };
}

/** Returns false as well for a path that cannot be looked at. */
export async function isDirectory(path: string, { files }: Pick<Surroundings, 'files'>): Promise<boolean> {
  return await files.stat(path).then(
    (facts) => facts.isDirectory(),
    () => false,
  );
}

async function firstDirectory(candidates: readonly string[], surroundings: Surroundings): Promise<string | undefined> {
  for (const path of candidates) {
    if (await isDirectory(path, surroundings)) return path;
  }
  return undefined;
}
