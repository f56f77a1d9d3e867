import { resolve } from 'node:path';
import { type FoundUse, type KeyNeed, keyNeedOf } from '../data/look.ts';
import { type KeyName, parseFileName } from '../format/key-file-name.ts';
import type { Configuration } from '../server/configuration.ts';
import { lookAtServerData } from '../server/data-locations.ts';
import { findKeyKeeper } from '../server/key-keeper.ts';
import { PREFIX, TRIAL_ALIAS } from '../server/plugin-options.ts';
import type { Files, Surroundings } from '../server/surroundings.ts';
import type { SetupPaths } from './paths.ts';

/** A directory that may hold key files of the server. */
export interface KeyPlace {
  readonly directory: string;
  /** The number of key versions in it; 0 also if it does not exist. */
  readonly versions: number;
  /** Keys that the server's data uses and the directory does not hold. */
  readonly lacking: readonly FoundUse[];
}

/** The places of a server's keys, and the need for them. */
export interface KeyPlaces {
  /** The need of the server's data, whatever keys there are. */
  readonly need: KeyNeed;
  /** The key directory of the plugin as it is configured; undefined: it is not, or is that of a trial. */
  readonly configured: string | undefined;
  readonly isTrial: boolean;
  in(directory: string): KeyPlace;
  /** All directories that hold key files, the configured one first. */
  readonly all: readonly KeyPlace[];
}

/** Looks at the data and at every directory that may hold key files. Nothing is written. */
export async function surveyKeys(
  configuration: Configuration,
  asked: string | undefined,
  paths: SetupPaths,
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<KeyPlaces> {
  const { datadir, options, masterKeyId } = configuration;
  const { files } = surroundings;
  const isTrial = masterKeyId === TRIAL_ALIAS;
  const { keyfileDir, keeper } = await findKeyKeeper(configuration, surroundings);
  const isConfigured = options.strict(PREFIX).length > 0 && keeper.unseenKeys === undefined;
  const configured = isConfigured && !isTrial ? keyfileDir : undefined;
  const directories = [configured, asked, paths.keyDirectory, paths.agentKeyDirectory, datadir];
  const look = await lookAtServerData(configuration, files.data, signal);
  const places = new Map<string, KeyPlace>();
  for (const named of directories) {
    if (named === undefined) continue;
    const directory = resolve(named);
    if (places.has(directory)) continue;
    const names = await keyNamesIn(directory, files);
    const lacking = look.uses.filter((use) => !isHeld(use, names));
    places.set(directory, { directory, versions: names.length, lacking });
  }
  return {
    need: keyNeedOf(look),
    configured,
    isTrial,
    in: (directory) => places.get(directory) ?? { directory, versions: 0, lacking: look.uses },
    all: [...places.values()].filter(({ versions }) => versions > 0),
  };
}

function isHeld({ id, version }: FoundUse, names: readonly KeyName[]): boolean {
  return names.some((name) => name.id === id && (version === undefined || name.version === version));
}

/** The key versions in a directory; none if it does not exist. */
async function keyNamesIn(directory: string, { keyDirectory }: Files): Promise<readonly KeyName[]> {
  const names = await keyDirectory.readdir(directory).catch(() => []);
  return names.flatMap((text) => {
    const parsed = parseFileName(text);
    return parsed.kind === 'wrapped-key' ? [parsed.name] : [];
  });
}
