import { describeUse, keyNeedOf } from '../../data/look.ts';
import type { KeyError } from '../../errors.ts';
import type { Configuration } from '../../server/configuration.ts';
import { lookAtServerData } from '../../server/data-locations.ts';
import type { Surroundings } from '../../server/surroundings.ts';
import { encryptedTablespaces } from '../ask-server.ts';
import { refused } from '../refused.ts';

const NAMED = 5;
/** Decrypts the tables that were made with ENCRYPTED=YES. Some servers quote the value in create_options. */
const DECRYPT = `mariadb -rNe 'SELECT CONCAT("ALTER TABLE \`", REPLACE(table_schema, "\`", "\`\`"), "\`.\`", REPLACE(table_name, "\`", "\`\`"), "\` ENCRYPTED=NO;") FROM information_schema.tables WHERE create_options REGEXP "ENCRYPTED.=.?YES"' | mariadb`;
/** Decrypts what innodb_encrypt_tables encrypted, system tables included: the server's threads do it. */
const DECRYPT_DEFAULT = `mariadb -e 'SET GLOBAL innodb_encrypt_tables=OFF, GLOBAL innodb_encryption_threads=1'`;
/** Tablespaces that no table's option encrypts. */
const SYSTEM = /^(?:innodb_|mysql\/)/;
/** Options that encrypt what outlives the server's process. */
const ENCRYPTING = ['innodb_encrypt_tables', 'innodb_encrypt_log', 'aria_encrypt_tables', 'encrypt_binlog'] as const;

/**
 * Refuses while the running server has encrypted data or encrypts by default. Its files do not tell: a tablespace that has
 * been encrypted or decrypted may have its old pages on disk until the server stops.
 * @throws KeyError SETUP_REFUSED
 */
export async function assertUnused(
  { options, request }: Configuration,
  surroundings: Surroundings,
  signal: AbortSignal,
): Promise<void> {
  const tablespaces = await encryptedTablespaces(surroundings, request.defaults, signal);
  if (typeof tablespaces === 'string') {
    throw refused(
      `the server does not tell which tables are encrypted under the trial's keys: ${tablespaces}`,
      'start the server, and let root log in through its socket; the client reads a password from /root/.my.cnf',
    );
  }
  const on = ENCRYPTING.filter((name) => options.isOn(name, false) !== false);
  if (on.length > 0) {
    throw refused(
      `the server encrypts under the trial's keys by default: ${on.join(', ')}`,
      `take ${on.join(', ')} out of the option files and restart the server; ${cure(true)}`,
    );
  }
  if (tablespaces.length > 0) throw inUse(tablespaces);
}

/** As `assertUnused`, by the files of a server that was stopped, which tell everything. @throws KeyError SETUP_REFUSED */
export async function assertFilesPlain(
  configuration: Configuration,
  { files }: Surroundings,
  signal: AbortSignal,
): Promise<void> {
  const look = await lookAtServerData(configuration, files.data, signal);
  const need = keyNeedOf(look);
  if (need === 'none') return;
  const [unseen] = look.unseen;
  if (need === 'needs' || unseen === undefined) throw inUse(look.uses.map(describeUse));
  throw refused(
    `${unseen.path} cannot be looked at (${unseen.reason}), and may be encrypted under the trial's keys`,
    'bring it back or make it readable, then run this again',
  );
}

function inUse(all: readonly string[]): KeyError {
  const more = all.length > NAMED ? ` and ${all.length - NAMED} more` : '';
  return refused(
    `data is encrypted under the trial's keys and could not be read without them: ${all.slice(0, NAMED).join(', ')}${more}`,
    cure(all.some((name) => SYSTEM.test(name))),
  );
}

function cure(isByDefault: boolean): string {
  const first = isByDefault ? `decrypt what innodb_encrypt_tables encrypted: ${DECRYPT_DEFAULT}; ` : '';
  return `${first}decrypt the tables, then run this again (one: ALTER TABLE d.t ENCRYPTED=NO; it then stays in the clear, until ALTER TABLE d.t ENCRYPTED=DEFAULT after the trial lets it follow innodb_encrypt_tables). All that have ENCRYPTED=YES: ${DECRYPT}`;
}
