import { failure, ok, type Report, warning } from '../../finding.ts';
import { allowsKeyId, isKeyId } from '../../ids.ts';
import type { KeptConfiguration } from '../../server/key-keeper.ts';
import { TRIAL_ALIAS } from '../../server/plugin-options.ts';
import type { ServerOptions } from '../../server/server-options.ts';
import type { Check, Examination } from '../check.ts';

/** Settings that are off by default, and the data that each leaves readable. */
const SWITCHES: readonly (readonly [string, string])[] = [
  ['innodb_encrypt_log', 'the redo log, with the data of every change'],
  ['innodb_encrypt_temporary_tables', "InnoDB's temporary tables"],
  ['aria_encrypt_tables', 'Aria tables'],
  ['encrypt_tmp_disk_tables', 'temporary tables of queries'],
  ['encrypt_tmp_files', 'temporary files of sorts and of the binary log cache'],
];

/** Logs that are always written unencrypted. */
const PLAIN_LOGS: readonly (readonly [string, string])[] = [
  ['general_log', 'the general log, with every statement'],
  ['slow_query_log', 'the slow query log, with statements'],
];
const NAMED = 5;
const ENCRYPTING_ENGINES = /^(?:innodb|aria)$/i;

/** Finds settings that leave data unencrypted without an error. */
export const encryptionSettings: Check = {
  id: 'encryption-settings',
  unneeded: ({ unread }) => unread,
  async run(examination) {
    const { configuration } = examination;
    const { options } = configuration;
    const reports = [
      ...unprotected(configuration),
      ...tables(options),
      ...clearTables(examination),
      ...defaultKey(examination),
      ...engines(options),
      ...switches(options),
      ...plainLogs(options),
    ];
    if (reports.length > 0) return reports;
    const age = Number(options.last('innodb_encryption_rotate_key_age') ?? 1);
    const versions = age === 1 ? 'version' : 'versions';
    const rule = `rotations re-encrypt pages that are more than ${age} key ${versions} old`;
    const settings = 'the settings encrypt tables, logs and temporary files, but not the log of Aria (aria_log.*)';
    return [ok(`${settings}; ${rule}`)];
  },
};

/** Reports tables whose own definition keeps them unencrypted. */
function clearTables({ configuration: { options }, facts }: Examination): readonly Report[] {
  const clear = facts.look?.clear ?? [];
  if (clear.length === 0 || !isEncrypting(options)) return [];
  const more = clear.length > NAMED ? ` and ${clear.length - NAMED} more` : '';
  const found = `ENCRYPTED=NO in their definition, and so in the clear: ${clear.slice(0, NAMED).join(', ')}${more}`;
  const tables = [...new Set(clear.map(tableOf))].slice(0, NAMED);
  return [warning(found, tables.map((table) => `mariadb -e 'ALTER TABLE ${table} ENCRYPTED=DEFAULT'`).join('\n'))];
}

/** `shop/t.ibd`, `shop/t#P#p0.ibd` → `shop.t`, quoted; a name with encoded characters is left to the reader. */
function tableOf(file: string): string {
  const [, database, table] = /^(\w+)\/(\w+)(?:#P#.*)?\.ibd$/.exec(file) ?? [];
  return database === undefined ? 'DATABASE.TABLE' : `${database}.${table}`;
}

function isEncrypting(options: ServerOptions): boolean {
  return !/^(?:OFF|0)$/i.test(options.last('innodb_encrypt_tables') ?? 'OFF');
}

function unprotected({ isMock, masterKeyId, keeper }: KeptConfiguration): readonly Report[] {
  if (isMock && keeper.isSeparate) {
    const found = 'the agent runs with --mock: the keys lie beside what they wrap';
    return [
      warning(found, `take --mock out of what starts ${keeper.service.unit?.name ?? 'the agent'}, and restart it`),
    ];
  }
  if (isMock) {
    return [
      warning('aws_key_management_mock is ON: the keys lie beside what they wrap', 'aws_key_management_mock = OFF'),
    ];
  }
  if (masterKeyId !== TRIAL_ALIAS) return [];
  const found = 'TRIAL, PROTECTS NOTHING: the master key lies unprotected on this machine';
  return [warning(found, 'when the trial is over: mariadb-aws-kms init --remove-trial')];
}

function tables(options: ServerOptions): readonly Report[] {
  const value = (options.last('innodb_encrypt_tables') ?? 'OFF').toUpperCase();
  const threads = options.number('innodb_encryption_threads', 0);
  const age = options.number('innodb_encryption_rotate_key_age', 1);
  if (!/^(?:OFF|ON|FORCE|[0-2])$/.test(value)) {
    return [failure(`innodb_encrypt_tables: expected OFF, ON or FORCE, got "${value}"`, 'innodb_encrypt_tables = ON')];
  }
  if (threads === undefined || age === undefined) {
    return [failure('innodb_encryption_threads and innodb_encryption_rotate_key_age must be numbers', 'correct them')];
  }
  const reports: Report[] = [];
  const isOn = isEncrypting(options);
  if (!isOn) {
    const found = 'innodb_encrypt_tables is OFF: only tables created with ENCRYPTED=YES are encrypted';
    const also = threads > 0 ? '; innodb_encryption_threads decrypts the others' : '';
    reports.push(warning(found + also, 'innodb_encrypt_tables = ON'));
  }
  if (isOn && threads === 0) {
    const found = 'innodb_encryption_threads is 0: existing tables stay as they are, and no rotation re-encrypts any';
    reports.push(warning(found, 'innodb_encryption_threads = 1'));
  }
  if (isOn && threads > 0 && options.number('innodb_encryption_rotation_iops', 100) === 0) {
    const found = 'innodb_encryption_rotation_iops is 0: the encryption threads encrypt nothing';
    reports.push(warning(found, 'innodb_encryption_rotation_iops = 100'));
  }
  if (isOn && age === 0) {
    const found = 'innodb_encryption_rotate_key_age is 0: pages keep the key version they were written with';
    reports.push(warning(found, 'innodb_encryption_rotate_key_age = 1'));
  }
  if (options.isOn('innodb_file_per_table', true) === false) {
    const found = 'innodb_file_per_table is OFF: tables in the system tablespace cannot be encrypted one by one';
    reports.push(warning(found, 'innodb_file_per_table = ON'));
  }
  const checksum = options.last('innodb_checksum_algorithm') ?? 'full_crc32';
  if (!/^(?:strict_)?full_crc32$/i.test(checksum)) {
    const found = `innodb_checksum_algorithm is ${checksum}: in the clear stay spatial indexes of new tables`;
    reports.push(warning(found, 'innodb_checksum_algorithm = full_crc32'));
  }
  return reports;
}

/** The default key of tables that name none. */
function defaultKey({ configuration: { options, keyIds }, facts }: Examination): readonly Report[] {
  const value = options.number('innodb_default_encryption_key_id', 1);
  if (value === undefined || !isKeyId(value)) {
    const fix = 'innodb_default_encryption_key_id = 1';
    return [failure('innodb_default_encryption_key_id: expected 1 to 4294967295', fix)];
  }
  if (allowsKeyId(keyIds, value) || facts.stored.some(({ name }) => name.id === value)) return [];
  const found = `aws_key_management_key_ids does not allow key ${value}, innodb_default_encryption_key_id`;
  return [warning(`${found}: no encrypted table can be created`, `add ${value} to the list`)];
}

function engines(options: ServerOptions): readonly Report[] {
  return ['default_storage_engine', 'default_tmp_storage_engine'].flatMap((name) => {
    const engine = options.last(name);
    if (engine === undefined || engine === '' || ENCRYPTING_ENGINES.test(engine)) return [];
    return [warning(`${name} is ${engine}: only InnoDB and Aria encrypt their tables`, `${name} = InnoDB`)];
  });
}

function plainLogs(options: ServerOptions): readonly Report[] {
  return PLAIN_LOGS.filter(([name]) => options.isOn(name, false) === true).map(([name, what]) =>
    warning(`${name} is ON: nothing encrypts ${what}`, `${name} = OFF, or keep its file where nobody else reads it`),
  );
}

function switches(options: ServerOptions): readonly Report[] {
  const reports = SWITCHES.flatMap(([name, what]) => {
    const isOn = options.isOn(name, false);
    if (isOn === undefined) return [failure(`${name}: expected ON or OFF`, `${name} = ON`)];
    return isOn ? [] : [warning(`${name} is OFF: in the clear stay ${what}`, `${name} = ON`)];
  });
  const hasBinaryLog = options.last('log_bin') !== undefined && options.last('log_bin') !== '0';
  if (hasBinaryLog && /^innodb$/i.test(options.last('binlog_storage_engine') ?? '')) {
    // In MariaDB 12.3 InnoDB can write the binary log, and encrypt_binlog does not apply to it.
    const found =
      'binlog_storage_engine is InnoDB: nothing encrypts such binary logs, with every statement, whatever encrypt_binlog says';
    reports.push(warning(found, 'remove binlog_storage_engine, or keep the binary logs on an encrypted file system'));
  } else if (hasBinaryLog && options.isOn('encrypt_binlog', false) !== true) {
    reports.push(
      warning('encrypt_binlog is OFF: in the clear stay the binary logs, with every statement', 'encrypt_binlog = ON'),
    );
  }
  return reports;
}
