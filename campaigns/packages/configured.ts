/** A server configured by hand, as packages older than `init` need it, with a KMS of its own on the same machine. */
import { TEST_ACCESS_KEYS_FILE } from '../../harness/scratch-server.ts';
import type { Machine } from './machine.ts';

export const AGENT_UNIT = 'mariadb-aws-kms-agent';
export const AGENT_KEYS = '/var/lib/mariadb-aws-kms-agent';
export const SERVER_KEYS = '/var/lib/mariadb-aws-kms';
/** As the documents' commands name it. */
export const MASTER_KEY = 'alias/mariadb-encryption';
export const REGION = 'eu-central-1';
const PORT = 8000;
export const KMS_URL = `http://127.0.0.1:${PORT}`;
const CREDENTIALS = '/etc/mariadb-aws-kms/credentials';
const OPTION_FILE = '/etc/mysql/mariadb.conf.d/aws_key_management.cnf';

/** Starts the embedded KMS from a copy of the executable, which later packages do not replace. */
export async function startKms(machine: Machine): Promise<void> {
  await machine.run(`
    install -D /usr/bin/mariadb-aws-kms /opt/kms/kms
    cd /opt/kms
    setsid ./kms dev-kms --port ${PORT} --state kms.json --region ${REGION} --alias ${MASTER_KEY} --quiet </dev/null >log 2>&1 &
    for i in $(seq 100); do grep -q 'listening on' log && exit 0; sleep 0.1; done
    cat log; exit 1`);
}

export interface ServerSetUp {
  /** Undefined: the server starts its own agent. */
  readonly agent?: 'separate';
  readonly keys: string;
  readonly more?: string;
}

/** Writes the option file and restarts the server. */
export async function configure(machine: Machine, { agent, keys, more = '' }: ServerSetUp): Promise<void> {
  const ofAgent =
    agent === undefined
      ? `aws_key_management_endpoint_url = ${KMS_URL}\naws_key_management_region = ${REGION}`
      : 'aws_key_management_agent = unix:/run/mariadb-aws-kms/agent.sock';
  await machine.write(
    OPTION_FILE,
    `[mariadb]
plugin_load_add = aws_key_management
aws_key_management = FORCE_PLUS_PERMANENT
aws_key_management_master_key_id = ${MASTER_KEY}
aws_key_management_keyfile_dir = ${keys}
${ofAgent}
innodb_encrypt_tables = ON
innodb_encrypt_log = ON
innodb_encryption_threads = 2
${more}
`,
  );
  await machine.service('restart');
}

/** Gives the server's user its credentials, in a file that a drop-in names, and a directory for its keys. */
export async function letServerSpawn(machine: Machine): Promise<void> {
  await machine.write(CREDENTIALS, TEST_ACCESS_KEYS_FILE, '0600', 'mysql');
  await machine.run(`
    install -d -m 0750 -o mysql -g mysql ${SERVER_KEYS}
    install -D -m 0644 /usr/share/mariadb-aws-kms/mariadb-aws-kms.conf \
      /etc/systemd/system/mariadb.service.d/mariadb-aws-kms.conf
    systemctl daemon-reload`);
}

/** Configures and starts the separate agent. Its key directory is its unit's. */
export async function startSeparateAgent(machine: Machine): Promise<void> {
  await machine.write(CREDENTIALS, TEST_ACCESS_KEYS_FILE, '0600', 'mariadb-aws-kms');
  await machine.write(
    '/etc/default/mariadb-aws-kms',
    `AGENT_OPTIONS=--region ${REGION} --endpoint-url ${KMS_URL}\nAWS_SHARED_CREDENTIALS_FILE=${CREDENTIALS}\n`,
  );
  await machine.run(`systemctl enable --now ${AGENT_UNIT}`);
}

/** Process id and start time of the separate agent. */
export async function separateAgent(machine: Machine): Promise<string> {
  return await machine.run(
    `pid=$(systemctl show --value -p MainPID ${AGENT_UNIT}); echo $pid $(cut -d" " -f22 /proc/$pid/stat)`,
  );
}

export async function rotate(machine: Machine, id: number): Promise<number> {
  await machine.sql(`SET GLOBAL aws_key_management_rotate_key = ${id}`);
  return await latestVersion(machine, id);
}

export async function latestVersion(machine: Machine, id: number): Promise<number> {
  const row = await machine.sql(`SHOW GLOBAL STATUS LIKE 'Aws\\_key\\_management\\_key\\_${id}\\_latest\\_version'`);
  return Number(row.split('\t')[1]);
}

/** Names and checksums of all key files of a directory. */
export async function keyFiles(machine: Machine, directory: string): Promise<string> {
  return await machine.run(`cd ${directory} && find . -name 'aws-kms-key.*' -exec sha256sum {} + | sort -k 2`);
}
