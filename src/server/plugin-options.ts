export const PREFIX = 'aws_key_management';
export const LIBRARY = 'aws_key_management.so';
/** Beside the library, unless aws_key_management_agent says otherwise. */
export const AGENT_NAME = 'aws_key_management_agent';
export const AGENT_SOCKET_PREFIX = 'unix:';

/** Of the recommended set-up: writable under the units of Debian and Red Hat, and not in the data directory. */
export const KEY_DIRECTORY = '/var/lib/mariadb-aws-kms';
/** Read by the server's user, named by AWS_SHARED_CREDENTIALS_FILE in a drop-in of its service. */
export const CREDENTIALS_FILE = '/etc/mariadb-aws-kms/credentials';

/** The plugin's variables, without their prefix. */
export const PLUGIN_VARIABLES = [
  'master_key_id',
  'key_spec',
  'encryption_algorithm',
  'log_level',
  'region',
  'endpoint_url',
  'request_timeout',
  'rotate_key',
  'mock',
  'keyfile_dir',
  'agent',
  'key_ids',
  'start_timeout',
  'allow_missing_keys',
  'encryption_context',
  'failover_regions',
  'watch_interval',
  'sealed_key_ring',
] as const;
export type PluginVariable = (typeof PLUGIN_VARIABLES)[number];

export const PLUGIN_OPTIONS: readonly string[] = [PREFIX, ...PLUGIN_VARIABLES.map((name) => `${PREFIX}_${name}`)];

/** As they are written in an option file. */
export function optionName(name: PluginVariable): string {
  return `${PREFIX}_${name}`;
}
