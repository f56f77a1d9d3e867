import { join } from 'node:path';
import { KEYS_OF_SERVER, keysNamedBy, type Named } from '../keystore/failures.ts';
import type { Configuration } from '../server/configuration.ts';
import type { KeyKeeper } from '../server/key-keeper.ts';

/**
 * A command that copies key files, with their sidecars, to where the process that has the keys reads them.
 * @param from the directory to copy from
 */
export function copyKeys({ account: { name, group } }: KeyKeeper, from: string, to: string): string {
  return `install -o ${name} -g ${group} -m 0600 ${join(from, 'aws-kms-key.*')} ${to}/`;
}

/** The key directory in messages: a separate agent's is named by its own option. */
export function keeperNamed({ isSeparate }: KeyKeeper): Named {
  return isSeparate ? keysNamedBy('--keyfile-dir', 'agent') : KEYS_OF_SERVER;
}

/** A running server has its keys in memory, and a restart would lose them. */
export function beforeRestart({ service }: Pick<Configuration, 'service'>, fix: string): string {
  return service.running === undefined ? fix : `do not restart the server before this:\n${fix}`;
}
