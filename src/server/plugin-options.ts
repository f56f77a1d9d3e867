import { SETTING_NAMES, type SettingName } from '../format/settings.ts';

export const PREFIX = 'aws_key_management';
export const LIBRARY = 'aws_key_management.so';
/** Beside the library, unless aws_key_management_agent says otherwise. */
export const AGENT_NAME = 'aws_key_management_agent';
export const AGENT_SOCKET_PREFIX = 'unix:';

/** Of the recommended set-up: writable under the units of Debian and Red Hat, and not in the data directory. */
export const KEY_DIRECTORY = '/var/lib/mariadb-aws-kms';
/** Read by the server's user, named by AWS_SHARED_CREDENTIALS_FILE in a drop-in of its service. */
export const CREDENTIALS_FILE = '/etc/mariadb-aws-kms/credentials';

export const PLUGIN_OPTIONS: readonly string[] = [PREFIX, ...SETTING_NAMES.map(optionName)];

/** As they are written in an option file. */
export function optionName(name: SettingName): string {
  return `${PREFIX}_${name}`;
}
