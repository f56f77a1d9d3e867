import { describeKey, type KeyName } from '../format/key-file-name.ts';

/** MariaDB's ENCRYPTION_KEY_SYSTEM_DATA. */
const SYSTEM_DATA = 1;

/** Warnings about new versions with AES_CTR, each of which is given once. */
export class CtrWarnings {
  readonly #told = new Set<string>();

  of(name: KeyName): readonly string[] {
    const warnings = [
      'the C++ plugin can read neither it nor data under it; before you go back to that plugin, all data must be under versions of AES_CBC',
      ...(name.id === SYSTEM_DATA
        ? [
            'redo log, binary logs and temporary tables use this key, and AES-CTR does not hide them well: it uses counters twice there; rotate it under AES_CBC',
          ]
        : []),
    ].filter((warning) => !this.#told.has(warning));
    for (const warning of warnings) this.#told.add(warning);
    return warnings.map((warning) => `${describeKey(name)} encrypts with AES_CTR: ${warning} (docs/key-files.md)`);
  }
}
