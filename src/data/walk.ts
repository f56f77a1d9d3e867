/** Every file that a server may encrypt, found without reading it. */
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { isInnodbBinaryLogName } from '../format/innodb/binary-log.ts';
import type { DataEntry } from './data-files.ts';
import type { DataLocations } from './locations.ts';

export type FoundFile =
  | {
      readonly kind: 'redo log' | 'archived redo log' | 'system tablespace' | 'undo tablespace' | TemporaryKind;
      readonly path: string;
    }
  /** `isLink`: another file than the one that the entry names. */
  | { readonly kind: 'tablespace' | 'Aria table'; readonly path: string; readonly isLink: boolean }
  /** An InnoDB link (.isl), a text file with the path of a tablespace elsewhere. */
  | { readonly kind: 'remote tablespace'; readonly path: string }
  /** `path`: the index that names the log, or the log. `paths`: the places where it may be; the first that exists is it. */
  | { readonly kind: 'binary log'; readonly path: string; readonly paths: readonly string[] }
  /** A file of an incremental, compressed or encrypted backup, in a format of the backup tool. */
  | { readonly kind: 'backup file'; readonly path: string };

/** Files that a server does not read after a restart. */
export type TemporaryKind = 'temporary tablespace' | 'temporary Aria table';

/** The directories that a walk lists. Failures are the lister's to record. */
export interface Lister {
  /** @param mayBeNone true for an entry of the data directory, which need not be a directory */
  names(directory: string, mayBeNone?: boolean): readonly DataEntry[] | undefined;
  /** Reads the lines of a log index; none when there is no such file. */
  lines(index: string): readonly string[];
  isThere(path: string): boolean;
}

const UNDO_TABLESPACES = 127;
/** Files of an archive (innodb_log_archive of MariaDB 13.0) that a start may read: the last with a checkpoint, and the next. */
const READ_AT_START = 2;
export const BACKUP_FILE = /\.(?:ibd|MAI|MAD)\.(?:delta|qp|xbcrypt)$|^ibdata\d+\.(?:delta|qp|xbcrypt)$/;

/** Walks through all places of a server's data. */
export function* foundFiles(lister: Lister, locations: DataLocations): Generator<FoundFile> {
  const { datadir, systemTablespace, redoLogs, undoLogs, logIndexes } = locations;
  const root = lister.names(datadir);
  const logs = root === undefined ? [] : (lister.names(redoLogs) ?? []).map(({ name }) => name);
  // Until MariaDB 10.4 there were several.
  for (const name of logs) if (/^ib_logfile\d+$/.test(name)) yield { kind: 'redo log', path: join(redoLogs, name) };
  const archive = logs.filter((name) => /^ib_[0-9A-Fa-f]{16}\.log$/.test(name)).sort(byArchiveStart);
  for (const [at, name] of archive.entries())
    yield {
      kind: at < archive.length - READ_AT_START ? 'archived redo log' : 'redo log',
      path: join(redoLogs, name),
    };
  for (const path of systemTablespace) yield { kind: 'system tablespace', path };
  for (const path of locations.temporaryTablespaces)
    if (lister.isThere(path)) yield { kind: 'temporary tablespace', path };
  for (const { name } of lister.names(undoLogs) ?? [])
    if (isUndoTablespace(name)) yield { kind: 'undo tablespace', path: join(undoLogs, name) };
  const indexes = (root ?? []).filter(({ name }) => name.endsWith('.index')).map(({ name }) => join(datadir, name));
  const directories = new Set(logIndexes.map((index) => dirname(index)));
  directories.delete(datadir);
  for (const directory of directories) {
    const beside = (lister.names(directory) ?? []).filter(({ name }) => name.endsWith('.index'));
    indexes.push(...beside.map(({ name }) => join(directory, name)));
  }
  for (const index of new Set([...indexes, ...logIndexes])) {
    for (const line of lister.lines(index)) {
      const beside = isAbsolute(line) ? [] : [join(dirname(index), basename(line))];
      yield { kind: 'binary log', path: index, paths: [...new Set([resolve(datadir, line), ...beside])] };
    }
  }
  for (const { name } of lister.names(locations.innodbBinaryLogs) ?? []) {
    const path = join(locations.innodbBinaryLogs, name);
    if (isInnodbBinaryLogName(name)) yield { kind: 'binary log', path, paths: [path] };
  }
  for (const directory of locations.temporaryTables) {
    for (const { name } of lister.names(directory) ?? [])
      if (isTemporaryAria(name)) yield { kind: 'temporary Aria table', path: join(directory, name) };
  }
  for (const { name, mayBeDirectory } of root ?? []) {
    if (BACKUP_FILE.test(name)) yield { kind: 'backup file', path: join(datadir, name) };
    if (!mayBeDirectory || name.startsWith('.') || name === 'lost+found') continue;
    const folder = join(datadir, name);
    // No database directory has a dot in its name: a dangling link of such a name may be that of a socket.
    if (name.includes('.') && !lister.isThere(folder)) continue;
    for (const file of lister.names(folder, true) ?? []) {
      const path = join(folder, file.name);
      if (file.name.endsWith('.ibd')) yield { kind: 'tablespace', path, isLink: file.isLink };
      else if (isTemporaryAria(file.name)) yield { kind: 'temporary Aria table', path };
      else if (file.name.endsWith('.MAI')) yield { kind: 'Aria table', path, isLink: file.isLink };
      else if (file.name.endsWith('.isl')) yield { kind: 'remote tablespace', path };
      else if (BACKUP_FILE.test(file.name)) yield { kind: 'backup file', path };
    }
  }
}

/** Names are `ib_` and the LSN of the beginning. */
function byArchiveStart(a: string, b: string): number {
  return a.toLowerCase() < b.toLowerCase() ? -1 : 1;
}

function isUndoTablespace(name: string): boolean {
  const number = /^undo(\d{3})$/.exec(name)?.[1];
  return number !== undefined && Number(number) >= 1 && Number(number) <= UNDO_TABLESPACES;
}

/** The index of a temporary table, which may be encrypted with key 2. */
function isTemporaryAria(name: string): boolean {
  return name.startsWith('#sql-temptable') && name.endsWith('.MAI');
}
