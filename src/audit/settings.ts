/** Compares what the server's settings ask for with what lies in the files. */
import type { EncryptionSettings } from '../data/encryption-settings.ts';
import type { FileAudit } from './file-audit.ts';

/** A file that is not as the settings, or its table's definition, ask for. */
export interface Conflict {
  readonly file: string;
  /** The setting and its value: `innodb_encrypt_tables=ON`, `ENCRYPTED=YES`. */
  readonly asked: string;
  /** True: the file is encrypted, and should not be. False: it is in clear or partly so, and should not be. */
  readonly isEncrypted: boolean;
}

/** @param settings undefined: they are not known, as of a copy, and only the definitions of tables count */
export function conflictsOf(
  files: readonly FileAudit[],
  settings: EncryptionSettings | undefined,
): readonly Conflict[] {
  return files.flatMap((file) => {
    const asked = askedOf(file, settings);
    if (asked === undefined || file.state === 'empty') return [];
    const isWhole = file.state === 'encrypted' || (file.state === 'partly' && isSpatialOnly(file));
    const isAny = file.state !== 'clear';
    if (asked.encrypted ? isWhole : !isAny) return [];
    return [{ file: file.file, asked: asked.by, isEncrypted: !asked.encrypted }];
  });
}

interface Asked {
  readonly by: string;
  readonly encrypted: boolean;
}

/** Returns undefined where nothing decides, as of files that the server never encrypts. */
function askedOf(file: FileAudit, settings: EncryptionSettings | undefined): Asked | undefined {
  if (file.asked === 'yes') return isSpatialOnly(file) ? undefined : { by: 'ENCRYPTED=YES', encrypted: true };
  if (file.asked === 'no') {
    return settings?.innodb_encrypt_tables === 'FORCE'
      ? { by: 'innodb_encrypt_tables=FORCE', encrypted: true }
      : { by: 'ENCRYPTED=NO', encrypted: false };
  }
  if (settings === undefined) return undefined;
  switch (file.kind) {
    case 'tablespace':
    case 'system tablespace':
    case 'undo tablespace': {
      const value = settings.innodb_encrypt_tables;
      if (value === undefined || isSpatialOnly(file)) return undefined;
      return { by: `innodb_encrypt_tables=${value}`, encrypted: value !== 'OFF' };
    }
    case 'temporary tablespace':
      return ofSwitch(settings, 'innodb_encrypt_temporary_tables');
    case 'redo log':
    case 'archived redo log':
      return ofSwitch(settings, 'innodb_encrypt_log');
    case 'binary log':
    case 'relay log':
      return ofSwitch(settings, 'encrypt_binlog');
    case 'Aria table':
      return hasRowsOutsidePages(file) ? undefined : ofSwitch(settings, 'aria_encrypt_tables');
    default:
      return undefined;
  }
}

function ofSwitch(
  settings: EncryptionSettings,
  name: Exclude<keyof EncryptionSettings, 'innodb_encrypt_tables'>,
): Asked | undefined {
  const value = settings[name];
  return value === undefined ? undefined : { by: `${name}=${value ? 'ON' : 'OFF'}`, encrypted: value };
}

/** True: the only pages in clear are of SPATIAL indexes, which forms before full_crc32 leave so. */
export function isSpatialOnly({ pages }: FileAudit): boolean {
  return pages !== undefined && pages.spatial > 0 && pages.spatial === pages.clear.used;
}

/** True for an Aria table of ROW_FORMAT=FIXED or DYNAMIC, which Aria never encrypts: its data file has no pages. */
export function hasRowsOutsidePages({ kind, pages }: FileAudit): boolean {
  return kind === 'Aria table' && pages?.neverEncrypted === 0;
}
