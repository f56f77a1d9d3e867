import { resolve } from 'node:path';
import type { Place } from '../audit/audit.ts';
import type { StoredVersion } from '../audit/needs.ts';
import type { EncryptionSettings } from '../data/encryption-settings.ts';
import type { Unseen } from '../data/visit.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { parseFileName } from '../format/key-file-name.ts';
import type { Configuration } from '../server/configuration.ts';
import { copiedData } from '../server/copied-data.ts';
import { dataLocations } from '../server/data-locations.ts';
import { encryptionSettings, unknownSettings } from '../server/encryption-settings.ts';
import { PREFIX } from '../server/plugin-options.ts';
import type { Surroundings } from '../server/surroundings.ts';
import type { OptionFileOptions } from './option-files.ts';
import { keyPlaceOf, readServer } from './read-server.ts';

export interface PlaceOptions extends OptionFileOptions {
  readonly datadir?: string;
  readonly keyfileDir?: string;
}

/** The data for an audit to look at. */
export interface AuditPlaces {
  /** The places, named for people. */
  readonly where: string;
  readonly paths: readonly string[];
  readonly places: readonly Place[];
  readonly isOfFiles: boolean;
  /** Undefined where the settings are not known: of a copy, of files. */
  readonly settings: EncryptionSettings | undefined;
  /** Sentences about settings that have no such value. */
  readonly remarks: readonly string[];
  /** Undefined where no key directory is known. */
  readonly keys: StoredKeys | undefined;
  readonly unseen: readonly Unseen[];
  /** Data that an audit of these places leaves out. */
  readonly notLookedAt: readonly string[];
}

export interface StoredKeys {
  readonly directory: string;
  readonly stored: readonly StoredVersion[];
}

/** @throws KeyError BAD_OPTION, STORE_UNAVAILABLE for `--keyfile-dir` */
export async function auditPlaces(
  paths: readonly string[],
  options: PlaceOptions,
  outside: Surroundings,
): Promise<AuditPlaces> {
  const keys = options.keyfileDir === undefined ? undefined : namedKeys(options.keyfileDir, outside);
  if (paths.length > 0) {
    if (options.datadir !== undefined)
      throw new KeyError('BAD_OPTION', '--datadir and files or directories: only one of them at a time');
    return ofPaths(paths, keys, outside);
  }
  const server = await serverOf(options, outside);
  if (server === undefined) return ofPaths([options.datadir ?? DATADIR], keys, outside);
  const { found, unseen } = keys === undefined ? await keysOf(server, outside) : { found: keys, unseen: [] };
  const locations = dataLocations(server.datadir, (name) => server.options.last(name));
  return {
    where: server.datadir,
    paths: [server.datadir],
    places: [{ locations, isCopy: false, isUnprepared: false, more: [] }],
    isOfFiles: false,
    settings: encryptionSettings(server.options),
    remarks: unknownSettings(server.options),
    keys: found,
    unseen,
    notLookedAt: [...ELSEWHERE, ...(locations.temporaryTables.length === 0 ? ['default tmpdir'] : [])],
  };
}

const ELSEWHERE = ['backups', 'archived logs', 'replicas', 'other copies'];
const OF_FILES = ["the server's other files", 'backups', 'archived logs', 'replicas'];

/** MariaDB's default on Debian and Red Hat. */
const DATADIR = '/var/lib/mysql';

/**
 * Returns the server whose data the options name. Undefined: a data directory that is none of a server's whose option
 * files are known. Then nothing is taken from this machine's option files.
 */
async function serverOf(options: PlaceOptions, outside: Surroundings): Promise<Configuration | undefined> {
  const { datadir, defaults, defaultsFile, defaultsExtraFile } = options;
  if (!defaults) return undefined;
  const isNamed = defaultsFile !== undefined || defaultsExtraFile !== undefined;
  if (datadir === undefined || isNamed) return await readServer(options, { datadir, variables: {} }, outside);
  try {
    const server = await readServer(options, { variables: {} }, outside);
    const [one, other] = await Promise.all(
      [server.datadir, resolve(datadir)].map((path) => outside.files.realpath(path)),
    );
    return one === other ? server : undefined;
  } catch (error) {
    if (error instanceof KeyError || systemErrorCode(error) !== undefined) return undefined;
    throw error;
  }
}

function ofPaths(paths: readonly string[], keys: StoredKeys | undefined, outside: Surroundings): AuditPlaces {
  const places: Place[] = [];
  const files: string[] = [];
  const unseen: Unseen[] = [];
  let found = keys;
  for (const path of paths.map((each) => resolve(each))) {
    try {
      const { locations, backup, entries } = copiedData(outside.files.data, path);
      const isUnprepared = backup === 'unprepared' || backup === 'incremental';
      places.push({ locations, isCopy: true, isUnprepared, more: entries });
      found ??= keysIn(path, outside);
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === 'ENOTDIR') files.push(path);
      else if (code !== undefined) unseen.push({ path, reason: code });
      else throw error;
    }
  }
  if (files.length > 0) places.push({ files });
  const [first = '', ...more] = paths;
  return {
    where: more.length === 0 ? first : `${first} and ${more.length} more`,
    paths,
    places,
    isOfFiles: files.length > 0,
    settings: undefined,
    remarks: [],
    keys: found,
    unseen,
    notLookedAt: files.length > 0 ? OF_FILES : ELSEWHERE,
  };
}

/** Lists the key directory of a server that has the plugin. */
async function keysOf(
  server: Configuration,
  outside: Surroundings,
): Promise<{ readonly found: StoredKeys | undefined; readonly unseen: readonly Unseen[] }> {
  const { options } = server;
  const libraries = [...options.all('plugin_load'), ...options.all('plugin_load_add')];
  const hasPlugin = options.strict(PREFIX).length > 0 || libraries.some((names) => names.includes(PREFIX));
  try {
    const { directory } = await keyPlaceOf(server, outside);
    try {
      const found = keysIn(directory, outside);
      return { found: found ?? (hasPlugin ? { directory, stored: [] } : undefined), unseen: [] };
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === undefined) throw error;
      return { found: undefined, unseen: hasPlugin ? [{ path: directory, reason: `the keys in it: ${code}` }] : [] };
    }
  } catch (error) {
    // A separate agent elsewhere has the keys.
    if (error instanceof KeyError) return { found: undefined, unseen: [] };
    throw error;
  }
}

function namedKeys(path: string, outside: Surroundings): StoredKeys {
  const directory = resolve(path);
  try {
    return keysIn(directory, outside) ?? { directory, stored: [] };
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    throw new KeyError('STORE_UNAVAILABLE', `cannot list the key directory ${directory}: ${code}`, { cause: error });
  }
}

/** Returns undefined for a directory without key files. @throws what node:fs throws */
function keysIn(directory: string, { files }: Surroundings): StoredKeys | undefined {
  const stored = files.data.list(directory).flatMap(({ name }) => {
    const parsed = parseFileName(name);
    return parsed.kind === 'wrapped-key' ? [parsed.name] : [];
  });
  return stored.length === 0 ? undefined : { directory, stored };
}
