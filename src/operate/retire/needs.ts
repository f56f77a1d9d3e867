/** The needs of a key version in audited files, and the command that ends each. */
import type { FileAudit, FileKind } from '../../audit/file-audit.ts';
import { isForStart, type NeedClass, needClasses } from '../../audit/needs.ts';
import type { KeyName } from '../../format/key-file-name.ts';
import { identifier } from '../../sql/server.ts';
import { tableOfTablespace } from '../rotate/table-name.ts';

export interface NeedOfVersion {
  readonly need: NeedClass;
  readonly file: string;
  readonly kind: FileKind;
  readonly pages: number;
  /** An SQL statement or an action that ends the need. */
  readonly cure: string;
}

/** Returns what needs the version in the audited files. */
export function needsOfVersion(name: KeyName, files: readonly FileAudit[]): readonly NeedOfVersion[] {
  return files.flatMap((file) => {
    const use = file.keyId === name.id ? file.versions.find(({ version }) => version === name.version) : undefined;
    if (use === undefined) return [];
    const { file: shown, path = shown, kind } = file;
    const inUse = isForStart(path, kind) ? 'start' : 'read';
    return needClasses(kind, inUse, use).map(([need, pages]) => ({
      need,
      file: shown,
      kind,
      pages,
      cure: cureOf(file),
    }));
  });
}

function cureOf({ file, kind }: FileAudit): string {
  switch (kind) {
    case 'redo log':
      return 'restart the server with another innodb_log_file_size: it then creates a redo log with the latest version';
    case 'binary log':
      return `FLUSH BINARY LOGS; then, when replicas and backups do without it, PURGE BINARY LOGS TO the one that SHOW MASTER STATUS names`;
    case 'relay log':
      return 'FLUSH RELAY LOGS; the replica removes those that it has applied';
    case 'redo log of a backup':
      return 'mariadb-backup --prepare that backup, or keep the version for it';
    case 'archived redo log':
      return 'keep the version as long as this log is kept';
    case 'system tablespace':
    case 'undo tablespace':
      return 'SET GLOBAL innodb_encryption_threads above 0 with innodb_encrypt_tables=ON, and wait until the pages are re-encrypted';
    default:
      return tableCure(file);
  }
}

/** Auxiliary files of a FULLTEXT index name no table. */
function tableCure(file: string): string {
  const space = file
    .replace(/\.[^./]+$/, '')
    .split('/')
    .slice(-2)
    .join('/');
  const table = tableOfTablespace(space);
  if (table !== undefined) return `ALTER TABLE ${identifier(table.schema)}.${identifier(table.table)} FORCE`;
  return `ALTER TABLE … FORCE of the table that ${file} belongs to; of a FULLTEXT index, the one that has it`;
}
