import type { KeyError } from '../errors.ts';
import type { Finding } from '../finding.ts';
import { parseFileName } from '../format/key-file-name.ts';
import type { Configuration } from '../server/configuration.ts';
import { PREFIX } from '../server/plugin-options.ts';
import { otherEncryptionPlugin } from '../server/plugins-to-load.ts';
import type { Files } from '../server/surroundings.ts';
import type { ServerState } from './ask-server.ts';
import { refused } from './refused.ts';

/**
 * Returns the reason why the server could not start with the plugin, whatever its options.
 * @param findings of the doctor's checks of the installation
 */
export function obstacleIn(
  configuration: Configuration,
  findings: readonly Finding[],
  server: ServerState,
  isOptionFileThere: boolean,
): KeyError | undefined {
  const failed = findings.find(({ status }) => status === 'failure');
  if (failed !== undefined) {
    return refused(`${failed.check}: ${failed.found}`, failed.fix ?? 'see mariadb-aws-kms doctor');
  }
  const { options } = configuration;
  const other = otherEncryptionPlugin(options) ?? server.encryptionPlugins.find((name) => name !== PREFIX);
  if (other !== undefined) {
    return refused(
      `the server has the encryption plugin ${other}, and a server has one: ${PREFIX} cannot be loaded beside it`,
      other === 'file_key_management'
        ? 'take its keys over, without decrypting anything: mariadb-aws-kms import file-key-management --help'
        : `decrypt everything under ${other} first, then take it out of the option files (UNINSTALL SONAME, if INSTALL SONAME loaded it), and restart the server`,
    );
  }
  const loads = options.inOrder(['plugin_load', 'plugin_load_add']).some(({ value }) => value.includes(PREFIX));
  const set = [...(loads ? ['plugin_load_add'] : []), ...options.strict(PREFIX)];
  if (isOptionFileThere || set.length === 0) return undefined;
  return refused(
    `other option files configure the plugin already (${set.slice(0, 4).join(', ')})`,
    `the server has been set up by hand: look at it with mariadb-aws-kms doctor; or find these options, take them out, and run init again: grep -rn ${PREFIX} /etc/mysql /etc/my.cnf /etc/my.cnf.d`,
  );
}

/** The number of key versions in a directory; 0 if it does not exist. */
export async function keyFilesIn(directory: string, { keyDirectory }: Files): Promise<number> {
  const names = await keyDirectory.readdir(directory).catch(() => []);
  return names.filter((name) => parseFileName(name).kind === 'wrapped-key').length;
}
