import type { EncryptionSettings } from '../data/encryption-settings.ts';
import type { ServerOptions } from './server-options.ts';

const TABLES = ['OFF', 'ON', 'FORCE'] as const;

/** Reads the settings that decide what a server encrypts; one that is not given has MariaDB's default, OFF. */
export function encryptionSettings(options: ServerOptions): EncryptionSettings {
  const written = (options.last('innodb_encrypt_tables') ?? 'OFF').toUpperCase();
  const isOn = (name: string): boolean | undefined => options.isOn(name, false);
  return {
    innodb_encrypt_tables: TABLES.find((value, index) => [value, String(index)].includes(written)),
    innodb_encrypt_log: isOn('innodb_encrypt_log'),
    innodb_encrypt_temporary_tables: isOn('innodb_encrypt_temporary_tables'),
    encrypt_binlog: isOn('encrypt_binlog'),
    aria_encrypt_tables: isOn('aria_encrypt_tables'),
  };
}

/** Returns a sentence for each setting whose value is none of its values: no file is compared with it. */
export function unknownSettings(options: ServerOptions): readonly string[] {
  return Object.entries(encryptionSettings(options)).flatMap(([name, value]) =>
    value === undefined ? [`${name}=${options.last(name)}: that setting has no such value`] : [],
  );
}
