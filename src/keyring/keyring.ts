import { forEachBounded } from '../bounded.ts';
import { keyCheckValue, wipe } from '../bytes.ts';
import type { Clock } from '../clock.ts';
import { type KeyError, toKeyError } from '../errors.ts';
import { mergeAlike } from '../format/alike.ts';
import type { EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import { keyContext } from '../format/encryption-context.ts';
import { compareKeyNames, describeKey, type KeyName, keyFileName } from '../format/key-file-name.ts';
import type { Counter, Role, Severity } from '../format/messages.ts';
import { writtenTime } from '../format/written-time.ts';
import { allowsKeyId, type KeyId, type KeyVersion, keyVersion } from '../ids.ts';
import type { KeyStore } from '../keystore/store.ts';
import type { KmsCaller } from '../kms/caller.ts';
import { MOST_CALLS_AT_ONCE } from '../kms/client.ts';
import type { Deadline } from '../kms/retry.ts';
import { CtrWarnings } from './ctr-warnings.ts';
import { KnownVersions } from './known-versions.ts';
import { mendSidecar } from './mend-sidecar.ts';
import {
  backupNeverCreates,
  heldAlready,
  idNotAllowed,
  keyOfData,
  lostKey,
  missingBetween,
  neverDropForFile,
  noMasterKey,
  outOfTime,
  someNotRotated,
  unknownKey,
  withHint,
} from './refusals.ts';
import { RefusedKeys } from './refused-keys.ts';
import { SealedKeyCache } from './sealed-key-cache.ts';
import type { Settings } from './settings.ts';
import { inTurn, once } from './single-flight.ts';
import { type UnwrappedKey, unwrapStoredKey } from './unwrap.ts';
import { gaps, latestFirst, latestVersions, nextVersion } from './versions.ts';

/** The receiver of a keyring's results: the protocol session, or a test. */
export interface KeyringEvents {
  /** Delivers a data key. The receiver copies it at once; the keyring wipes its bytes when the call returns. */
  announce(name: KeyName, current: boolean, algorithm: EncryptionAlgorithm, dataKey: Uint8Array): void;
  log(severity: Severity, text: string): void;
  count(counter: Counter): void;
}

export interface KeyringParts {
  readonly role: Role;
  /** The number of key versions that the server has and that no `hold` names. */
  readonly unnamedHeld: number;
  /** Returns the current settings, which a change replaces. */
  readonly settings: () => Settings;
  readonly store: KeyStore;
  readonly kms: KmsCaller;
  readonly clock: Clock;
  readonly events: KeyringEvents;
}

export interface LoadResult {
  readonly keys: number;
  readonly versions: number;
  /** Versions that could not be unwrapped, with reasons. */
  readonly failures: readonly KeyFailure[];
}

export interface KeyFailure {
  readonly name: KeyName;
  readonly error: KeyError;
}

/**
 * Losing a race for a version number means that another process rotates as well; more losses in a row have another
 * cause.
 */
const MAX_LOST_RACES = 10;

/** Whether no data of the server is under a key id, or a function that finds out. */
export type MayCreate = boolean | (() => Promise<boolean>);

/** The core: unwraps, creates and rotates data keys. Each plaintext key is passed to `announce` and wiped. */
export class Keyring {
  readonly #parts: KeyringParts;
  /** The last creating operation of each key id: such operations run one at a time. */
  readonly #turns = new Map<KeyId, Promise<unknown>>();
  /** Concurrent calls for the same key, or the same version, share one operation. */
  readonly #opening = new Map<KeyId, Promise<KeyVersion | undefined>>();
  readonly #fetching = new Map<string, Promise<void>>();
  readonly #ctrWarnings = new CtrWarnings();
  /** Undefined: no sealed key cache is used. */
  readonly #cache: SealedKeyCache | undefined;
  readonly #known: KnownVersions;
  readonly #refused: RefusedKeys;

  constructor(parts: KeyringParts) {
    const { store, unnamedHeld, events } = parts;
    const settings = parts.settings();
    this.#parts = parts;
    this.#known = new KnownVersions(store, unnamedHeld);
    this.#refused = new RefusedKeys(parts.clock);
    // Mock mode needs no cache: its KMS is in this process.
    if (settings.sealedKeyCache && !settings.mock) {
      this.#cache = new SealedKeyCache({ ...parts, log: (severity, text) => events.log(severity, text) });
    }
  }

  /** The current write of the sealed key cache, which never rejects; undefined when none is running. */
  get sealing(): Promise<void> | undefined {
    return this.#cache?.sealing;
  }

  /** Records versions that the server got from earlier agents. */
  hold(names: readonly KeyName[]): void {
    for (const name of names) this.#known.add(name);
  }

  /**
   * Logs a warning when the store lacks versions that the server has, because the next start would lack them.
   * @throws KeyError STORE_UNAVAILABLE
   */
  async warnOfShrunkStore(): Promise<void> {
    const { shrunk } = await this.#known.list();
    if (shrunk !== undefined) this.#parts.events.log('error', withHint(shrunk));
  }

  /** Ends the keyring. No other method is called after it. */
  close(): void {
    this.#cache?.close();
  }

  /**
   * Unwraps every stored version, the latest of each key first.
   * @throws KeyError STORE_UNAVAILABLE
   */
  async loadAll(deadline: Deadline): Promise<LoadResult> {
    const { store, events } = this.#parts;
    const { listing, shrunk } = await this.#known.list();
    if (shrunk !== undefined) events.log('error', withHint(shrunk));
    for (const stray of listing.strays) {
      events.log('warning', `ignored ${stray} in ${store.place}: not the name of a key file`);
    }
    // A server that has keys already is told of each file that is gone.
    const between = this.#known.isEmpty ? gaps(listing) : [];
    if (between.length > 0) events.log('warning', missingBetween(between, store.place));
    if (this.#parts.role === 'server') {
      await store.removeAbandoned(listing.temporaries);
      // Data under these keys exists already, so refusing to start would not help.
      await store.sync().catch((error: unknown) => events.log('warning', withHint(toKeyError(error))));
    }
    const opened = await this.#cache?.open(listing, deadline);
    if (opened !== undefined) {
      try {
        for (const { name, algorithm, dataKey } of opened.keys) this.#announce(name, true, algorithm, dataKey);
      } finally {
        opened.wipe();
      }
    }
    const failures = await this.unwrapEach(latestFirst(opened?.others ?? listing.stored), deadline, this.#sealer);
    for (const name of listing.lost) failures.push({ name, error: lostKey(name, store.place) });
    if (failures.length === 0) this.#cache?.sealSoon(opened === undefined);
    else this.#cache?.forget();
    return {
      keys: new Set(listing.stored.map(({ id }) => id)).size,
      versions: listing.stored.length,
      failures,
    };
  }

  /** Unwraps and announces each version; returns those that could not be unwrapped, in the order of their names. */
  async unwrapEach(names: readonly KeyName[], deadline: Deadline, keep?: SealedKeyCache): Promise<KeyFailure[]> {
    return await this.#each(names, (name) => this.#unwrapStored(name, true, deadline, keep));
  }

  /** As `unwrapEach`, and asks KMS nothing about files that it found damaged and that are still the same. */
  async unwrapAgain(names: readonly KeyName[], deadline: Deadline): Promise<KeyFailure[]> {
    return await this.#each(names, (name) => this.#unwrapStored(name, true, deadline, undefined, this.#refused));
  }

  async #each(names: readonly KeyName[], unwrap: (name: KeyName) => Promise<void>): Promise<KeyFailure[]> {
    const failures: KeyFailure[] = [];
    // The first keys are needed before a thread could start.
    const endReading = this.#parts.store.readAhead(names.slice(MOST_CALLS_AT_ONCE));
    await forEachBounded(names, this.#parts.kms.room, async (name) => {
      try {
        await unwrap(name);
      } catch (error) {
        failures.push({ name, error: toKeyError(error) });
      }
    }).finally(endReading);
    return failures.sort((a, b) => compareKeyNames(a.name, b.name));
  }

  /**
   * Makes a key id usable: unwraps its stored versions, or creates version 1 when there is none.
   * @param mayCreate whether no data of the server is under that id. A function is called at most once, when nothing else
   * prevents the creation, and may take its time: no other operation waits for it
   * @returns the latest version; undefined when none is stored, and that function said no
   * @throws KeyError; KEY_OF_DATA when none is stored, and mayCreate is false
   */
  async open(id: KeyId, mayCreate: MayCreate, deadline: Deadline): Promise<KeyVersion | undefined> {
    const attempt = (isNew: boolean): Promise<KeyVersion | undefined> =>
      inTurn(this.#turns, id, () => this.#open(id, isNew, deadline));
    return await once(this.#opening, id, async () => {
      if (typeof mayCreate === 'boolean') {
        const version = await attempt(mayCreate);
        if (version === undefined) throw keyOfData(id, this.#parts.store.place);
        return version;
      }
      // After the answer another process may have made the key.
      return (await attempt(false)) ?? (await attempt(await mayCreate()));
    });
  }

  /**
   * Unwraps one stored version.
   * @throws KeyError KEY_UNKNOWN when it is not stored
   */
  async fetch(name: KeyName, deadline: Deadline): Promise<void> {
    try {
      await once(this.#fetching, keyFileName(name), () => this.#unwrapStored(name, false, deadline));
    } catch (thrown) {
      const error = toKeyError(thrown);
      throw this.#parts.role === 'server' ? neverDropForFile(error) : error;
    }
  }

  /**
   * Creates the next version of a key.
   * @throws KeyError; then the server has the version before. A file whose directory could not be synced stays
   */
  async rotate(id: KeyId, deadline: Deadline): Promise<KeyVersion> {
    return await inTurn(this.#turns, id, async () => {
      const latest = latestVersions(await this.#known.listWhole()).get(id);
      if (latest === undefined) throw unknownKey(id);
      return await this.#rotateFrom(id, latest, deadline);
    });
  }

  /**
   * Rotates every stored key, even when others fail.
   * @returns the number of keys rotated
   * @throws KeyError KEYS_FAILED when any failed
   */
  async rotateAll(deadline: Deadline): Promise<number> {
    // The store is listed once: a version that another process creates meanwhile shows as KEY_EXISTS.
    const latest = latestVersions(await this.#known.listWhole());
    const failures: { readonly id: KeyId; readonly error: KeyError }[] = [];
    await forEachBounded([...latest], MOST_CALLS_AT_ONCE, async ([id, version]) => {
      try {
        if (deadline.signal.aborted) throw outOfTime(id);
        await inTurn(this.#turns, id, () => this.#rotateFrom(id, version, deadline));
      } catch (thrown) {
        failures.push({ id, error: toKeyError(thrown) });
      }
    });
    failures.sort((a, b) => a.id - b.id);
    if (failures.length === 0) return latest.size;
    for (const error of mergeAlike(failures.map(({ error }) => error)))
      this.#parts.events.log('error', withHint(error));
    throw someNotRotated(latest.size, failures);
  }

  async #open(id: KeyId, isNew: boolean, deadline: Deadline): Promise<KeyVersion | undefined> {
    const { store, events, settings } = this.#parts;
    const { listing, shrunk } = await this.#known.list();
    const stored = listing.stored.filter((name) => name.id === id);
    const latest = stored.at(-1);
    if (latest !== undefined) {
      await store.sync();
      // The latest version is announced first and alone, so that an older one cannot be taken for it.
      await this.#unwrapStored(latest, true, deadline);
      const older = await this.unwrapEach(stored.slice(0, -1), deadline);
      for (const { error } of older) events.log('error', withHint(error));
      return latest.version;
    }
    // Rule: a key id is new only if the store was listed and has nothing of that id.
    const lost = listing.lost.find((name) => name.id === id);
    if (lost !== undefined) throw lostKey(lost, store.place);
    if (shrunk !== undefined) throw shrunk;
    // The setting limits new ids only: an existing key may always get another version.
    if (!allowsKeyId(settings().keyIds, id)) throw idNotAllowed(id);
    this.#refuseToCreate(id);
    // This check is the last, because it makes the plugin search all its data.
    return isNew ? await this.#createNext(id, keyVersion(1), deadline) : undefined;
  }

  async #rotateFrom(id: KeyId, latest: KeyVersion, deadline: Deadline): Promise<KeyVersion> {
    const version = await this.#createNext(id, nextVersion(id, latest), deadline);
    this.#parts.events.count('rotations');
    return version;
  }

  /** The key cache for new keys; a backup writes none. */
  get #sealer(): SealedKeyCache | undefined {
    return this.#parts.role === 'server' ? this.#cache : undefined;
  }

  /** @param refused damaged keys that are not to be asked about again */
  async #unwrapStored(
    name: KeyName,
    current: boolean,
    deadline: Deadline,
    keep?: SealedKeyCache,
    refused?: RefusedKeys,
  ): Promise<void> {
    const { store, kms, settings, events } = this.#parts;
    const { encryptionContext } = settings();
    const stored = await store.readToUnwrap(name);
    refused?.assertNone(name, stored, encryptionContext);
    if (stored.sidecarProblem !== undefined) events.log('warning', withHint(stored.sidecarProblem));
    const unwrapped = await unwrapStoredKey(kms, encryptionContext, name, stored, deadline).catch((thrown: unknown) => {
      this.#refused.note(name, stored, encryptionContext, toKeyError(thrown));
      throw thrown;
    });
    try {
      await mendSidecar(this.#parts, name, stored, unwrapped);
      // A key in the cache is not checked again, and its sidecar would stay wrong where it could not be corrected.
      if (stored.mismatch === undefined) {
        keep?.add({ ...unwrapped, name }, stored.wrapped, (stored.sidecar ?? unwrapped).masterKeyArn);
      }
      this.#handOver(name, current, unwrapped);
    } finally {
      wipe(unwrapped.plaintext);
    }
  }

  /** @throws KeyError KEY_NOT_ALLOWED where no key may be created at all */
  #refuseToCreate(id: KeyId): void {
    const { store, settings, role } = this.#parts;
    if (role === 'backup') throw backupNeverCreates(id, store.place);
    // Mock mode is for trials: its only master key needs no name.
    const { masterKeyId, mock } = settings();
    if (masterKeyId === '' && !mock) throw noMasterKey(id);
  }

  /** Creates version `first`, or the next free one when another process was faster. */
  async #createNext(id: KeyId, first: KeyVersion, deadline: Deadline): Promise<KeyVersion> {
    const { store, events } = this.#parts;
    this.#refuseToCreate(id);
    let version = first;
    for (let races = 0; ; races += 1) {
      try {
        await this.#create({ id, version }, deadline);
        return version;
      } catch (thrown) {
        const error = toKeyError(thrown);
        if (error.code !== 'KEY_EXISTS' || races === MAX_LOST_RACES) throw error;
        if (version === 1) {
          // A new key was requested, and another process has just created it.
          await store.sync();
          await this.#unwrapStored({ id, version }, true, deadline);
          return version;
        }
        events.log('note', `${error.message}; taking the next version`);
        version = nextVersion(id, latestVersions(await this.#known.listWhole()).get(id) ?? version);
      }
    }
  }

  async #create(name: KeyName, deadline: Deadline): Promise<void> {
    const { store, kms, clock, settings, events } = this.#parts;
    // The server has this version, and data is encrypted with it, whatever the store contains.
    if (this.#known.has(name)) throw heldAlready(name);
    // One snapshot for the whole creation: the settings may change meanwhile.
    const { masterKeyId, keySpec, encryptionAlgorithm: algorithm, encryptionContext: pairs } = settings();
    const subject = describeKey(name);
    const encryptionContext = keyContext(pairs, name, algorithm);
    const request = { masterKeyId, keySpec, encryptionContext };
    const made = await kms.generate(`${subject} (master key ${masterKeyId})`, request, deadline);
    const { masterKeyArn, requestId } = made;
    const plaintext = await store.create({
      name,
      wrapped: made.wrapped,
      sidecar: { masterKeyArn, keySpec, created: writtenTime(clock.wallMs()), requestId, encryptionContext },
      verify: async (wrapped) => {
        const unwrapRequest = { wrapped, masterKeyArn, keySpec, keyCheckValue: undefined, encryptionContext };
        const { plaintext: value } = await kms.decrypt(subject, unwrapRequest, deadline);
        return { value, keyCheckValue: keyCheckValue(value), discard: () => wipe(value) };
      },
      report: (problem) => events.log('warning', withHint(problem)),
    });
    try {
      events.log('note', `generated encrypted datakey for key id=${name.id}, version=${name.version}`);
      events.count('keysCreated');
      const warnings = algorithm === 'AES_CTR' ? this.#ctrWarnings.of(name) : [];
      for (const warning of warnings) events.log('warning', warning);
      this.#cache?.add({ name, algorithm, plaintext }, made.wrapped, masterKeyArn);
      this.#handOver(name, true, { algorithm, plaintext });
      this.#cache?.sealSoon(false);
    } finally {
      wipe(plaintext);
    }
  }

  #announce(name: KeyName, current: boolean, algorithm: EncryptionAlgorithm, dataKey: Uint8Array): void {
    this.#parts.events.announce(name, current, algorithm, dataKey);
    this.#known.add(name);
  }

  #handOver(
    name: KeyName,
    current: boolean,
    { algorithm, plaintext }: Pick<UnwrappedKey, 'algorithm' | 'plaintext'>,
  ): void {
    this.#announce(name, current, algorithm, plaintext);
    const suffix = algorithm === 'AES_CBC' ? '' : `, ${algorithm}`;
    const length = `key length ${plaintext.length * 8} bit${suffix}`;
    this.#parts.events.log('note', `loaded key ${name.id}, version ${name.version}, ${length}`);
  }
}
