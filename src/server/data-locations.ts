import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import type { DataFiles } from '../data/data-files.ts';
import type { DataLocations } from '../data/locations.ts';
import { type DataLook, lookAtData } from '../data/look.ts';
import type { Configuration } from './configuration.ts';

const SYSTEM_TABLESPACE = 'ibdata1';
const TEMPORARY_TABLESPACE = 'ibtmp1';

/** Reads a server variable; undefined when nothing sets it. */
export type ReadVariable = (name: string) => string | undefined;

/** Returns the places of the files that a server with these settings encrypts. */
export function dataLocations(datadir: string, variable: ReadVariable): DataLocations {
  const directory = (name: string): string => resolve(datadir, variable(name) || '.');
  const home = directory('innodb_data_home_dir');
  // PATH:SIZE[:autoextend][:max:SIZE];…
  const files = (list: string): readonly string[] =>
    list
      .split(';')
      .map((file) => file.replace(/:.*$/s, ''))
      .filter((path) => path !== '')
      .map((path) => resolve(home, path));
  return {
    datadir,
    systemTablespace: files(variable('innodb_data_file_path') || SYSTEM_TABLESPACE),
    redoLogs: directory('innodb_log_group_home_dir'),
    undoLogs: directory('innodb_undo_directory'),
    logIndexes: [...logIndex('log_bin', 'log_bin_index'), ...logIndex('relay_log', 'relay_log_index')],
    innodbBinaryLogs: directory('binlog_directory'),
    temporaryTablespaces: files(variable('innodb_temp_data_file_path') || TEMPORARY_TABLESPACE),
    temporaryTables: (variable('tmpdir') ?? '').split(':').filter((path) => isAbsolute(path)),
  };

  function logIndex(log: string, index: string): readonly string[] {
    const named = variable(index);
    if (named) return [resolve(datadir, named.includes('.') ? named : `${named}.index`)];
    const path = variable(log);
    // An option that is a switch and no path: the index is in the data directory, whose indexes are all read.
    if (!path || /^(?:0|1|off|on)$/i.test(path)) return [];
    const full = resolve(datadir, path);
    return [join(dirname(full), `${basename(full).replace(/\..*$/, '')}.index`)];
  }
}

/**
 * Finds the keys that the server's data needs. If its option files could not be read, the places of its data are
 * unknown, and something counts as unseen.
 */
export async function lookAtServerData(
  { datadir, options, unread }: Pick<Configuration, 'datadir' | 'options' | 'unread'>,
  files: DataFiles,
  signal: AbortSignal,
): Promise<DataLook> {
  const look = await lookAtData(
    files,
    dataLocations(datadir, (name) => options.last(name)),
    signal,
  );
  if (unread === undefined) return look;
  return { ...look, unseen: [...look.unseen, { path: 'data outside the data directory', reason: unread }] };
}
