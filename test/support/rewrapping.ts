import type { Clock } from '../../src/clock.ts';
import { DEFAULT_REGION } from '../../src/dev-kms/index.ts';
import type { FileSystem } from '../../src/disk/file-system.ts';
import { parseKeyIdSet } from '../../src/ids.ts';
import { type RewrapResult, rewrapKeys } from '../../src/keyring/rewrap.ts';
import { KeyDirectory } from '../../src/keystore/directory.ts';
import { KEYS_FOR_CALLER } from '../../src/keystore/failures.ts';
import { OperatorCaller } from '../../src/kms/operator-caller.ts';
import type { EmbeddedClient } from './embedded-client.ts';

export interface Rewrap {
  readonly fileSystem: FileSystem;
  readonly kms: EmbeddedClient;
  readonly clock: Clock;
  readonly keyIds?: string;
  readonly isDryRun?: boolean;
  readonly tell?: (line: string) => void;
}

let runs = 0;

/** Moves the keys of /keys to alias/b, with a backup in /backup-N. */
export async function rewrap({
  fileSystem,
  kms,
  clock,
  keyIds = '',
  isDryRun = false,
  tell = () => undefined,
}: Rewrap): Promise<RewrapResult> {
  const request = {
    store: new KeyDirectory('/keys', fileSystem, clock, Math.random, KEYS_FOR_CALLER),
    newMasterKeyArn: kms.kms.ensureAlias(DEFAULT_REGION, 'alias/b'),
    keyIds: parseKeyIdSet(keyIds),
    makeBackupDirectory: isDryRun
      ? undefined
      : async () => {
          runs += 1;
          return `/backup-${runs}`;
        },
    tool: 'mariadb-aws-kms test',
    holder: { host: 'db1', pid: 4711 },
  };
  return await rewrapKeys(request, {
    disk: { fileSystem, clock, random: Math.random },
    kms: new OperatorCaller(kms.client, { clock, random: () => 0.5 }),
    context: { cluster: 'orders' },
    tell,
  });
}
