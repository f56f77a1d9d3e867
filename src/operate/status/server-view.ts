/** The running server's own account of its encrypted tablespaces. */
import type { SqlServer } from '../../sql/server.ts';

/** Tablespaces of one key id whose lowest key version is the same. */
export interface SpacesOfVersion {
  readonly keyId: number;
  /** The lowest version that a page in use may have. */
  readonly version: number;
  readonly tablespaces: number;
  /** Tablespaces that are being re-encrypted, or whose pages are being written. */
  readonly underWay: number;
}

/** Settings that decide whether tablespaces are re-encrypted after a rotation. */
export interface RotationSettings {
  readonly threads: number;
  readonly rotateKeyAge: number;
  /** ON, OFF or FORCE. */
  readonly encryptTables: string;
  readonly isReadOnly: boolean;
}

export interface ServerView {
  readonly server: string;
  readonly version: string;
  readonly spaces: readonly SpacesOfVersion[];
  readonly settings: RotationSettings;
}

const SPACES = `SELECT CURRENT_KEY_ID AS id, MIN_KEY_VERSION AS version, COUNT(*) AS spaces,
  COUNT(NULLIF(ROTATING_OR_FLUSHING, 0)) AS underway
  FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE ENCRYPTION_SCHEME = 1
  GROUP BY CURRENT_KEY_ID, MIN_KEY_VERSION ORDER BY 1, 2`;
const SETTINGS = `SELECT VERSION() AS version, @@innodb_encryption_threads AS threads,
  @@innodb_encryption_rotate_key_age AS age, @@innodb_encrypt_tables AS tables, @@read_only + 0 AS readonly`;

/** Asks the server. It needs PROCESS. @throws KeyError SERVER_UNREACHABLE, SERVER_REFUSED, SQL_FAILED */
export async function viewOfServer(server: SqlServer, signal: AbortSignal): Promise<ServerView> {
  const [facts = {}] = await server.query(SETTINGS, [], signal);
  const spaces = await server.query(SPACES, [], signal);
  return {
    server: server.name,
    version: String(facts['version']),
    spaces: spaces.map(({ id, version, spaces: tablespaces, underway }) => ({
      keyId: Number(id),
      version: Number(version),
      tablespaces: Number(tablespaces),
      underWay: Number(underway),
    })),
    settings: {
      threads: Number(facts['threads']),
      rotateKeyAge: Number(facts['age']),
      encryptTables: String(facts['tables']),
      isReadOnly: Number(facts['readonly']) !== 0,
    },
  };
}

/** The reason why nothing is re-encrypted; undefined: the server re-encrypts. */
export function stillBecause({
  threads,
  rotateKeyAge,
  encryptTables,
  isReadOnly,
}: RotationSettings): string | undefined {
  if (isReadOnly) return 'the server is read_only: nothing is re-encrypted';
  if (threads === 0) return 'innodb_encryption_threads is 0: nothing is re-encrypted';
  if (rotateKeyAge === 0) return 'innodb_encryption_rotate_key_age is 0: nothing is re-encrypted';
  if (encryptTables === 'OFF')
    return 'innodb_encrypt_tables is OFF: tables with ENCRYPTED=YES are not re-encrypted, ALTER TABLE … FORCE does it';
  return undefined;
}
