import { basename, join, resolve } from 'node:path';
import type { DataFiles } from '../data/data-files.ts';
import type { DataLocations } from '../data/locations.ts';
import { dataLocations } from './data-locations.ts';

/** A directory with a copy of a server's data: of a stopped server, or a backup. */
export interface CopiedData {
  readonly locations: DataLocations;
  /** The state that `mariadb-backup` wrote down; undefined for another copy. `incremental` is not prepared, either. */
  readonly backup: 'prepared' | 'unprepared' | 'incremental' | undefined;
  /** All files in the directory itself. */
  readonly entries: readonly string[];
}

/** The names of the file in which `mariadb-backup` says what a directory is. */
const CHECKPOINTS = ['xtrabackup_checkpoints', 'mariadb_backup_checkpoints'];
const BACKUP_OPTIONS = 'backup-my.cnf';
const MOST_BYTES = 65_536;

/**
 * Returns the places of a copy's files, all of which are in its directory. Nothing is taken from the option files of
 * this machine's server.
 * @throws what node:fs throws
 */
export function copiedData(disk: DataFiles, directory: string): CopiedData {
  const datadir = resolve(directory);
  const entries = disk.list(datadir).map(({ name }) => name);
  const text = (name: string): string => (entries.includes(name) ? readText(disk, join(datadir, name)) : '');
  const type = CHECKPOINTS.map((name) => entryOf(text(name), 'backup_type')).find((value) => value !== undefined);
  // mariadb-backup copies every file to the directory itself.
  const named = entryOf(text(BACKUP_OPTIONS), 'innodb_data_file_path')
    ?.split(';')
    .map((file) => basename(file.replace(/:.*$/s, '')));
  const found = entries.filter((name) => /^ibdata\d+$/.test(name)).sort((a, b) => numberOf(a) - numberOf(b));
  return {
    locations: dataLocations(datadir, (name) =>
      name === 'innodb_data_file_path' ? (named ?? found).join(';') : undefined,
    ),
    backup: stateOf(type),
    entries: entries.map((name) => join(datadir, name)),
  };
}

function stateOf(type: string | undefined): CopiedData['backup'] {
  if (type === undefined) return undefined;
  if (type === 'incremental') return type;
  return type === 'full-backuped' ? 'unprepared' : 'prepared';
}

function readText(disk: DataFiles, path: string): string {
  const file = disk.open(path);
  if (file === undefined) return '';
  try {
    return file.read(0, MOST_BYTES).toString('utf8');
  } finally {
    file.close();
  }
}

/** Reads a line `name = value`. */
function entryOf(text: string, name: string): string | undefined {
  const lines = text.split(/\r?\n/).map((line) => line.split('=').map((part) => part.trim()));
  return lines.find(([key]) => key === name)?.[1];
}

function numberOf(name: string): number {
  return Number(/\d+$/.exec(name)?.[0]);
}
