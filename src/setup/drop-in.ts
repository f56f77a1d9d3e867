import { dirname } from 'node:path';
import { CREDENTIALS_FILE } from '../server/plugin-options.ts';
import { AGENT_UNIT } from '../server/service/agent-service.ts';

/**
 * Returns the drop-in that gives the server's service a credentials file. With the recommended file it is also
 * packaging/mariadb-aws-kms.conf.
 */
export function credentialsDropIn(file: string = CREDENTIALS_FILE): string {
  return `# Drop-in for the service of the server, only where its credentials are in a file: with a role (instance, task, pod) leave
# it out. Copy to /etc/systemd/system/mariadb.service.d/, then: systemctl daemon-reload
#
# The file is outside of the data directory, where MariaDB would take its directory for a database, and not in the home of
# the server's user, which Debian calls /nonexistent. ProtectSystem=full lets the server read /etc, and that is enough.
#   install -d -m 0755 ${dirname(file)}
#   install -m 0600 -o mysql -g mysql /dev/null ${file}

[Service]
Environment=AWS_SHARED_CREDENTIALS_FILE=${file}
`;
}

/** Returns the drop-in that lets the separate agent's service write another key directory than its own. */
export function keyDirectoryDropIn(directory: string): string {
  return `# Written by \`mariadb-aws-kms init\`: the key directory of the separate agent.
[Service]
ReadWritePaths=${directory}
`;
}

/** Returns the drop-in with which the server's service starts the separate agent's, also when that is not enabled. */
export function agentDropIn(): string {
  return `# Written by \`mariadb-aws-kms init\`: the separate agent has the server's keys.
[Unit]
Wants=${AGENT_UNIT}.service
After=${AGENT_UNIT}.service
`;
}
