import type { Clock, Random } from '../clock.ts';
import type { FileSystem } from '../disk/file-system.ts';
import type { KeyError } from '../errors.ts';
import type { Role } from '../format/messages.ts';
import { KeyDirectory } from '../keystore/directory.ts';
import { KEYS_FOR_CALLER, KEYS_OF_SERVER, type Named } from '../keystore/failures.ts';
import type { KeyStore } from '../keystore/store.ts';
import { KmsCaller, START_SPREAD_MS } from '../kms/caller.ts';
import type { KmsClients } from '../kms/client.ts';
import type { Deadline } from '../kms/retry.ts';
import { hintedForBackup } from './backup-environment.ts';
import { useMasterKeys } from './daily-use.ts';
import { Keyring, type KeyringEvents } from './keyring.ts';
import { createKmsLog } from './kms-log.ts';
import { KeyLoader } from './loader.ts';
import { checkMasterKeys, type MasterKeyReport, type Trouble } from './master-keys.ts';
import { changeSetting, type Settings } from './settings.ts';

/** Everything outside the process that keyrings use. */
export interface KeyringSurroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly fileSystem: FileSystem;
  /** Undefined: the plugin named the key directory. */
  readonly keysNamed?: Named | undefined;
  readonly connectKms: (settings: Settings) => Promise<KmsClients>;
}

/** Hears of a keyring what its owner passes on: the protocol session, or another door. */
export interface OwnerEvents extends KeyringEvents {
  /** Called whenever missing versions have been tried, with the number of those that stay wrapped. */
  missing(versions: number): void;
}

export interface KeyringRequest {
  readonly role: Role;
  /** Key versions that the server has already, and that no `hold` names. */
  readonly unnamedHeld: number;
  readonly settings: Settings;
  readonly events: OwnerEvents;
}

/** A keyring with everything that it works with. */
export interface OpenKeyring {
  readonly keyring: Keyring;
  readonly loader: KeyLoader;
  /** Lines for the log before any key is loaded. */
  readonly notices: readonly Trouble[];
  /** @throws KeyError BAD_OPTION, PROTOCOL; nothing has changed then */
  changeSetting(name: string, value: string): void;
  /** @throws KeyError STORE_UNAVAILABLE */
  checkMasterKeys(deadline: Deadline): Promise<MasterKeyReport>;
  /** @returns what KMS refused @throws KeyError STORE_UNAVAILABLE */
  useMasterKeys(deadline: Deadline): Promise<readonly string[]>;
  /** Makes the hint of a failure fit the role. */
  hinted(error: KeyError): KeyError;
  /** Ends what goes on without being asked for, and starts no more of it. */
  stop(): void;
  /** To be called after `stop`, when nothing that was asked for is under way. */
  close(): Promise<void>;
}

/**
 * Builds the store, the KMS caller and the keyring that settings describe. No other place decides which kinds they are.
 * @throws KeyError of the KMS clients
 */
export async function openKeyring(
  { clock, random, fileSystem, keysNamed, connectKms }: KeyringSurroundings,
  { role, unnamedHeld, settings, events }: KeyringRequest,
): Promise<OpenKeyring> {
  let current = settings;
  const clients = await connectKms(settings);
  const log = events.log.bind(events);
  const observer = createKmsLog({ logLevel: () => current.logLevel, clock, log, count: events.count.bind(events) });
  const named = keysNamed ?? (role === 'backup' ? KEYS_FOR_CALLER : KEYS_OF_SERVER);
  const store: KeyStore = new KeyDirectory(settings.keyfileDir, fileSystem, clock, random, named);
  const kms = new KmsCaller(clients, clock, random, observer, START_SPREAD_MS);
  const keyring = new Keyring({ role, unnamedHeld, settings: () => current, store, kms, clock, events });
  const hinted = role === 'backup' ? hintedForBackup : (error: KeyError) => error;
  const missing = events.missing.bind(events);
  const loader = new KeyLoader({ settings, keyring, clock, random, log, missing, hinted });
  return {
    keyring,
    loader,
    notices: settings.mock ? mockNotices(settings) : [],
    changeSetting: (name, value) => {
      current = changeSetting(current, name, value);
    },
    checkMasterKeys: (deadline) => checkMasterKeys({ settings: current, store, clients, kms, clock }, deadline),
    // In mock mode there is no master key that anybody would delete.
    useMasterKeys: async (deadline) =>
      settings.mock ? [] : await useMasterKeys({ settings: current, store, kms }, deadline),
    hinted,
    stop: () => {
      loader.stop();
      keyring.close();
    },
    close: async () => {
      await keyring.sealing;
      for (const client of clients) client.close();
    },
  };
}

function mockNotices({ sealedKeyRing }: Settings): readonly Trouble[] {
  const text = 'MOCK MODE: keys are wrapped with key material that lies beside them; this protects nothing';
  return [
    { severity: 'warning', text },
    ...(sealedKeyRing ? [{ severity: 'note', text: 'in mock mode there is no sealed key ring' } as const] : []),
  ];
}
