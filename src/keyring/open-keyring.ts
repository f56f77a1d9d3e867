import type { Clock, Random } from '../clock.ts';
import type { FileSystem } from '../disk/file-system.ts';
import type { KeyError } from '../errors.ts';
import type { KeyName } from '../format/key-file-name.ts';
import type { Role } from '../format/messages.ts';
import type { KeyId, KeyVersion } from '../ids.ts';
import { KEYS_FOR_CALLER, KEYS_OF_SERVER, type Named } from '../keystore/failures.ts';
import { openStore } from '../keystore/open-store.ts';
import { KmsCaller, START_SPREAD_MS } from '../kms/caller.ts';
import type { KmsClients } from '../kms/client.ts';
import type { Deadline } from '../kms/retry.ts';
import { hintedForBackup } from './backup-environment.ts';
import { useMasterKeys } from './daily-use.ts';
import { Keyring, type KeyringEvents, type MayCreate } from './keyring.ts';
import { createKmsLog } from './kms-log.ts';
import { KeyLoader } from './loader.ts';
import { checkMasterKeys, type MasterKeyReport, type Trouble } from './master-keys.ts';
import { changeSetting, type Settings } from './settings.ts';

/** Everything outside the process that a keyring uses. */
export interface KeyringSurroundings {
  readonly clock: Clock;
  readonly random: Random;
  readonly fileSystem: FileSystem;
  /** Undefined: the plugin started this agent and named the key directory. */
  readonly keysNamed?: Named | undefined;
  readonly connectKms: (settings: Settings, role: Role) => Promise<KmsClients>;
  /** Lines about the connection for the log, complete when `connectKms` has returned. */
  readonly notices?: readonly Trouble[] | undefined;
}

/** Receives the events that a keyring's owner (the protocol session) passes on. */
export interface OwnerEvents extends KeyringEvents {
  /** Called after each retry of missing versions, with the number of those that are still missing. */
  missing(versions: number): void;
}

export interface KeyringRequest {
  readonly role: Role;
  /** The number of key versions that the server has and that no `hold` names. */
  readonly unnamedHeld: number;
  readonly settings: Settings;
  /**
   * True: opening a key whose versions are being retried calls KMS once more, as a plugin of protocol 1 expects. False: it
   * fails at once, so that no statement waits for KMS.
   */
  readonly asksForMissing: boolean;
  readonly events: OwnerEvents;
}

/** A keyring with all its parts. */
export interface OpenKeyring {
  readonly keyring: Keyring;
  readonly loader: KeyLoader;
  /** Lines for the log before any key is loaded. */
  readonly notices: readonly Trouble[];
  /** As `Keyring.open`. @throws KeyError, KEY_STILL_WRAPPED among others */
  open(id: KeyId, mayCreate: MayCreate, deadline: Deadline): Promise<KeyVersion | undefined>;
  /** As `Keyring.fetch`. @throws KeyError, KEY_STILL_WRAPPED among others */
  fetch(name: KeyName, deadline: Deadline): Promise<void>;
  /** @throws KeyError BAD_OPTION, PROTOCOL; then nothing has changed */
  changeSetting(name: string, value: string): void;
  /** @throws KeyError STORE_UNAVAILABLE */
  checkMasterKeys(deadline: Deadline): Promise<MasterKeyReport>;
  /** @returns KMS's refusals @throws KeyError STORE_UNAVAILABLE */
  useMasterKeys(deadline: Deadline): Promise<readonly string[]>;
  /** Adapts the hint of a failure to the process that reports it. */
  hinted(error: KeyError): KeyError;
  /** Ends background work, and starts no more of it. */
  stop(): void;
  /** Call it after `stop`, when no request is running. */
  close(): Promise<void>;
}

/**
 * Builds the store, the KMS caller and the keyring for the settings: the one place of composition for every door.
 * @throws KeyError of the KMS clients
 */
export async function openKeyring(
  { clock, random, fileSystem, keysNamed, connectKms, notices = [] }: KeyringSurroundings,
  { role, unnamedHeld, settings, asksForMissing, events }: KeyringRequest,
): Promise<OpenKeyring> {
  let current = settings;
  const clients = await connectKms(settings, role);
  const log = events.log.bind(events);
  const observer = createKmsLog({ logLevel: () => current.logLevel, clock, log, count: events.count.bind(events) });
  const named = keysNamed ?? (role === 'backup' ? KEYS_FOR_CALLER : KEYS_OF_SERVER);
  const store = openStore(settings.keyfileDir, { fileSystem, clock, random }, named);
  const kms = new KmsCaller(clients, clock, random, observer, START_SPREAD_MS);
  const keyring = new Keyring({ role, unnamedHeld, settings: () => current, store, kms, clock, events });
  const place = keysNamed === undefined ? 'spawned' : 'separate';
  const hinted = (error: KeyError): KeyError => (role === 'backup' ? hintedForBackup(error, place) : error);
  const missing = events.missing.bind(events);
  const loader = new KeyLoader({ role, settings, keyring, clock, random, log, missing, hinted });
  return {
    keyring,
    loader,
    notices: settings.mock ? mockNotices(settings) : notices,
    open: async (id, mayCreate, deadline) => {
      if (!asksForMissing) loader.refuseMissing(id);
      return await keyring.open(id, mayCreate, deadline);
    },
    fetch: async (name, deadline) => {
      if (!asksForMissing) loader.refuseMissing(name.id, name.version);
      await keyring.fetch(name, deadline);
    },
    changeSetting: (name, value) => {
      current = changeSetting(current, name, value);
    },
    checkMasterKeys: (deadline) => checkMasterKeys({ settings: current, store, clients, kms, clock }, deadline),
    // In mock mode nobody would delete the master key.
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

function mockNotices({ sealedKeyCache }: Settings): readonly Trouble[] {
  const text = 'MOCK MODE: keys are wrapped with key material that lies beside them; this protects nothing';
  return [
    { severity: 'warning', text },
    ...(sealedKeyCache ? [{ severity: 'note', text: 'in mock mode there is no sealed key cache' } as const] : []),
  ];
}
