/** Settings of a server that decide what it encrypts; undefined: a value that the server would refuse. */
export interface EncryptionSettings {
  readonly innodb_encrypt_tables: 'OFF' | 'ON' | 'FORCE' | undefined;
  readonly innodb_encrypt_log: boolean | undefined;
  readonly innodb_encrypt_temporary_tables: boolean | undefined;
  readonly encrypt_binlog: boolean | undefined;
  readonly aria_encrypt_tables: boolean | undefined;
}
