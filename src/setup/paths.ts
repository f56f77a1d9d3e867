import { CREDENTIALS_FILE, KEY_DIRECTORY } from '../server/plugin-options.ts';

/** Places of an installed system that `init` writes to, passed in for tests. */
export interface SetupPaths {
  /** Directories of option files; the first that exists is the system's. */
  readonly optionDirectories: readonly string[];
  readonly unitDirectory: string;
  readonly keyDirectory: string;
  readonly credentialsFile: string;
  /** Keys of the separate agent, its socket, and the variables of its unit. */
  readonly agentKeyDirectory: string;
  readonly agentSocket: string;
  readonly agentDefaults: string;
  /** Everything of a trial but the files that server and systemd read. */
  readonly trialDirectory: string;
  /** Locked while `init` runs. */
  readonly lock: string;
}

export const SETUP_PATHS: SetupPaths = {
  optionDirectories: ['/etc/mysql/mariadb.conf.d', '/etc/my.cnf.d'],
  unitDirectory: '/etc/systemd/system',
  keyDirectory: KEY_DIRECTORY,
  credentialsFile: CREDENTIALS_FILE,
  agentKeyDirectory: '/var/lib/mariadb-aws-kms-agent',
  agentSocket: '/run/mariadb-aws-kms/agent.sock',
  agentDefaults: '/etc/default/mariadb-aws-kms',
  trialDirectory: '/var/lib/mariadb-aws-kms-trial',
  lock: '/run/mariadb-aws-kms-init.lock',
};

export const OPTION_FILE = 'aws_key_management.cnf';
/** The separate agent's user, which has the name of the command. */
export const AGENT_USER = 'mariadb-aws-kms';
