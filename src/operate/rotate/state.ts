/** The parts of a running server that decide about a rotation. */
import { KeyError } from '../../errors.ts';
import type { Row, SqlServer } from '../../sql/server.ts';

/** A tablespace as information_schema.INNODB_TABLESPACES_ENCRYPTION shows it. */
export interface Tablespace {
  readonly space: number;
  /** `database/table` in the encoding of file names, `innodb_system`. */
  readonly name: string;
  /** True: its pages are encrypted, or will be. */
  readonly isEncrypted: boolean;
  readonly keyId: number;
  /** The lowest key version of its pages in memory; 0: some are in clear. */
  readonly minVersion: number;
  readonly latestVersion: number;
  /** True while a thread is at work on it, or its pages are not yet on disk. */
  readonly isMoving: boolean;
}

export interface ServerState {
  /** `10.11.19-MariaDB` */
  readonly version: string;
  /** All global variables. */
  readonly variables: ReadonlyMap<string, string>;
  /** Latest version of each key that the plugin has. */
  readonly keys: ReadonlyMap<number, number>;
  /** Names of the active encryption plugins. */
  readonly plugins: readonly string[];
  readonly encryptTables: 'OFF' | 'ON' | 'FORCE';
  readonly threads: number;
  readonly rotateKeyAge: number;
  readonly isReadOnly: boolean;
  readonly isInnodbReadOnly: boolean;
  readonly isGalera: boolean;
  readonly hasBinaryLog: boolean;
  /** True: it replicates from another server. */
  readonly isReplica: boolean;
  /** The statement of a backup that runs; undefined: none was seen. */
  readonly backup: string | undefined;
}

/** The plugin of this project and of the C++ one. */
export const PLUGIN = 'aws_key_management';

const KEY = /^aws_key_management_key_(\d+)_latest_version$/i;
const SPACES =
  'SELECT SPACE, NAME, ENCRYPTION_SCHEME, MIN_KEY_VERSION, CURRENT_KEY_VERSION, CURRENT_KEY_ID, ROTATING_OR_FLUSHING FROM information_schema.INNODB_TABLESPACES_ENCRYPTION';
const REPLICATION = /^Slave_(?:IO|SQL|worker)$/;
const BACKUP = /^\s*BACKUP\s+(?:STAGE|LOCK)\b/i;
/** Other statements wait for a backup's lock. */
const BEHIND_BACKUP = /waiting for backup lock/i;

/** @throws KeyError SERVER_UNREACHABLE, SERVER_REFUSED (PROCESS), SQL_FAILED */
export async function readState(sql: SqlServer, signal: AbortSignal): Promise<ServerState> {
  const variables = await sql.query('SHOW GLOBAL VARIABLES', [], signal);
  const values = new Map(variables.map((row) => [text(row, 'Variable_name'), text(row, 'Value')]));
  const plugins = await sql.query(
    "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_TYPE = 'ENCRYPTION' AND PLUGIN_STATUS = 'ACTIVE'",
    [],
    signal,
  );
  const processes = await sql.query('SELECT COMMAND, STATE, INFO FROM information_schema.PROCESSLIST', [], signal);
  const isOn = (name: string): boolean => values.get(name) === 'ON' || values.get(name) === '1';
  const encryptTables = values.get('innodb_encrypt_tables');
  return {
    version: values.get('version') ?? '',
    variables: values,
    keys: await readKeys(sql, signal),
    plugins: plugins.map((row) => text(row, 'PLUGIN_NAME')),
    encryptTables: encryptTables === 'ON' || encryptTables === 'FORCE' ? encryptTables : 'OFF',
    threads: Number(values.get('innodb_encryption_threads') ?? 0),
    rotateKeyAge: Number(values.get('innodb_encryption_rotate_key_age') ?? 1),
    isReadOnly: values.has('read_only') && values.get('read_only') !== 'OFF',
    isInnodbReadOnly: isOn('innodb_read_only'),
    isGalera: isOn('wsrep_on'),
    hasBinaryLog: isOn('log_bin'),
    isReplica: processes.some((row) => REPLICATION.test(text(row, 'COMMAND'))),
    backup: processes.map(backupOf).find((found) => found !== undefined),
  };
}

/** Returns the latest version of each key. */
export async function readKeys(sql: SqlServer, signal: AbortSignal): Promise<ReadonlyMap<number, number>> {
  const rows = await sql.query("SHOW GLOBAL STATUS LIKE 'aws\\_key\\_management\\_key\\_%'", [], signal);
  const versions = rows.flatMap((row): readonly (readonly [number, number])[] => {
    const [, id] = KEY.exec(text(row, 'Variable_name')) ?? [];
    return id === undefined ? [] : [[Number(id), Number(text(row, 'Value'))]];
  });
  return new Map(versions.sort(([a], [b]) => a - b));
}

/** Reads the view; that wakes encryption threads that sleep. @throws KeyError as `readState` */
export async function readTablespaces(sql: SqlServer, signal: AbortSignal): Promise<readonly Tablespace[]> {
  return (await sql.query(SPACES, [], signal)).map((row) => ({
    space: number(row, 'SPACE'),
    name: text(row, 'NAME'),
    isEncrypted: number(row, 'ENCRYPTION_SCHEME') === 1,
    keyId: number(row, 'CURRENT_KEY_ID'),
    minVersion: number(row, 'MIN_KEY_VERSION'),
    latestVersion: number(row, 'CURRENT_KEY_VERSION'),
    isMoving: number(row, 'ROTATING_OR_FLUSHING') !== 0,
  }));
}

function backupOf(row: Row): string | undefined {
  const statement = text(row, 'INFO');
  if (BACKUP.test(statement)) return statement.trim();
  return BEHIND_BACKUP.test(text(row, 'STATE')) ? `a statement waits for its lock: ${statement.trim()}` : undefined;
}

function text(row: Row, column: string): string {
  const value = row[column];
  return value === null || value === undefined ? '' : String(value);
}

function number(row: Row, column: string): number {
  const value = row[column];
  if (typeof value === 'number') return value;
  throw new KeyError(
    'SQL_FAILED',
    `the server: ${column} expected a number, got ${value === null ? 'NULL' : typeof value}`,
  );
}
