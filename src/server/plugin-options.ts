import { SETTING_NAMES, type SettingName } from '../format/settings.ts';

export const PREFIX = 'aws_key_management';
export const LIBRARY = 'aws_key_management.so';
/** The agent's file name. It is beside the library unless aws_key_management_agent names another path. */
export const AGENT_NAME = 'aws_key_management_agent';
export const AGENT_SOCKET_PREFIX = 'unix:';

/**
 * The key directory of the recommended set-up: writable under the units of Debian and Red Hat, and outside the data
 * directory.
 */
export const KEY_DIRECTORY = '/var/lib/mariadb-aws-kms';
/**
 * The credentials file of the recommended set-up: the server's user reads it, and AWS_SHARED_CREDENTIALS_FILE names it
 * in a drop-in of the service.
 */
export const CREDENTIALS_FILE = '/etc/mariadb-aws-kms/credentials';

/** The master key of a trial that `init --embedded-kms` sets up. Its name is seen wherever the key is named. */
export const TRIAL_ALIAS = 'alias/trial-protects-nothing';

/** The unit of its KMS. */
export const TRIAL_UNIT = 'mariadb-aws-kms-trial';

export const PLUGIN_OPTIONS: readonly string[] = [PREFIX, ...SETTING_NAMES.map(optionName)];

/** The variable's name as in an option file. */
export function optionName(name: SettingName): string {
  return `${PREFIX}_${name}`;
}
