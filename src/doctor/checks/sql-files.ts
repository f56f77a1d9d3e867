import { sep } from 'node:path';
import { failure, ok, warning } from '../../finding.ts';
import type { Configuration } from '../../server/configuration.ts';
import { AGENT_SOCKET_PREFIX } from '../../server/plugin-options.ts';
import type { Account } from '../../server/surroundings.ts';
import type { Check, Examination } from '../check.ts';

/** Finds key files that SQL users with the FILE privilege can read or replace through the server's system user. */
export const sqlFiles: Check = {
  id: 'sql-files',
  unneeded: ({ unread }) => unread,
  async run({ surroundings: { files }, configuration }: Examination) {
    const { options, keyfileDir, agent } = configuration;
    const directory = options.last('secure_file_priv') ?? '';
    if (directory === '') {
      const writes = agent.startsWith(AGENT_SOCKET_PREFIX)
        ? 'read what the server may read'
        : `write key files into ${keyfileDir}, and so stop the next start`;
      return [
        warning(
          `secure_file_priv is not set: SQL users with the FILE privilege can ${writes}`,
          secureFilePriv(configuration),
        ),
      ];
    }
    const facts = await files.stat(directory).catch(() => undefined);
    if (facts?.isDirectory() !== true) {
      const found = `secure_file_priv is ${directory}, which is no directory: the server does not start`;
      return [failure(found, makeDirectory(directory, configuration))];
    }
    const real = await files.realpath(directory);
    const keys = await files.realpath(keyfileDir).catch(() => keyfileDir);
    if (keys === real || keys.startsWith(real === sep ? sep : `${real}${sep}`)) {
      const found = `the key files are below secure_file_priv (${directory}): SQL users with the FILE privilege can write some`;
      return [warning(found, secureFilePriv(configuration))];
    }
    return [ok(`SQL users with the FILE privilege reach ${directory} only`)];
  },
};

/** A secure_file_priv directory that does not exist would keep the server from starting. */
function secureFilePriv(configuration: Configuration): string {
  const directory = `${configuration.datadir}-files`;
  return `${makeDirectory(directory, configuration)}\nsecure_file_priv = ${directory}`;
}

/** A user of the system's list by name, another by number. */
function nameOf({ name, uid }: Account): string {
  return name.includes(' ') ? `${uid}` : name;
}

function makeDirectory(directory: string, { account }: Configuration): string {
  return `install -d -o ${nameOf(account)} -g ${account.group} -m 0750 ${directory}`;
}
