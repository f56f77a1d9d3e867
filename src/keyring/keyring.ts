import { wipe } from '../bytes.ts';
import type { Clock } from '../clock.ts';
import { KeyError, toKeyError } from '../errors.ts';
import { describeKey, type KeyName, keyFileName } from '../format/key-file-name.ts';
import type { Counter, Role, Severity } from '../format/messages.ts';
import { allowsKeyId, type KeyId, type KeyVersion, keyVersion, MAX_KEY_VERSION } from '../ids.ts';
import type { KeyDirectory, Listing } from '../keystore/directory.ts';
import type { KmsCaller } from '../kms/caller.ts';
import type { Deadline } from '../kms/retry.ts';
import { forEachBounded } from './bounded.ts';
import type { Settings } from './settings.ts';

/** Where the keyring puts what it has: the protocol server, or a test. */
export interface KeyringEvents {
  /** Hands a data key over. The receiver copies it at once; the keyring wipes its bytes when the call returns. */
  announce(name: KeyName, current: boolean, dataKey: Uint8Array): void;
  log(severity: Severity, text: string): void;
  count(counter: Counter): void;
}

export interface KeyringParts {
  readonly role: Role;
  readonly settings: Settings;
  readonly store: KeyDirectory;
  readonly kms: KmsCaller;
  readonly clock: Clock;
  readonly events: KeyringEvents;
}

export interface LoadResult {
  readonly keys: number;
  readonly versions: number;
  /** Versions that stay wrapped, each with the reason. */
  readonly failures: readonly KeyFailure[];
}

export interface KeyFailure {
  readonly name: KeyName;
  readonly error: KeyError;
}

/** KMS calls in flight at once. */
const CONCURRENCY = 32;
/** A lost race for a version number means that another process rotates too; more in a row means something else. */
const MAX_LOST_RACES = 10;

/** The core: unwraps, creates and rotates data keys. Holds no plaintext key: each goes to `announce` and is wiped. */
export class Keyring {
  readonly #parts: KeyringParts;
  /** The last operation of each key id that creates: they take turns, so that one id is created once. */
  readonly #turns = new Map<KeyId, Promise<void>>();

  constructor(parts: KeyringParts) {
    this.#parts = parts;
  }

  /**
   * Unwraps every stored version, the latest of each key first.
   * @throws KeyError STORE_UNAVAILABLE
   */
  async loadAll(deadline: Deadline): Promise<LoadResult> {
    const { store, events } = this.#parts;
    const listing = await store.list();
    for (const stray of listing.strays) {
      events.log('warning', `ignored ${stray} in ${store.path}: not the name of a key file`);
    }
    if (this.#parts.role === 'server') await store.removeAbandoned(listing.temporaries);
    const failures = await this.unwrapEach(latestFirst(listing.stored), deadline);
    for (const name of listing.lost) failures.push({ name, error: lostKey(name, store.path) });
    return {
      keys: new Set(listing.stored.map(({ id }) => id)).size,
      versions: listing.stored.length,
      failures,
    };
  }

  /** Unwraps and announces each; returns those that stay wrapped. */
  async unwrapEach(names: readonly KeyName[], deadline: Deadline): Promise<KeyFailure[]> {
    const failures: KeyFailure[] = [];
    await forEachBounded(names, CONCURRENCY, async (name) => {
      try {
        await this.#unwrapStored(name, true, deadline);
      } catch (error) {
        failures.push({ name, error: toKeyError(error) });
      }
    });
    return failures;
  }

  /**
   * Makes a key id usable: unwraps what is stored for it, or creates version 1 when nothing is.
   * @returns the latest version
   * @throws KeyError
   */
  async open(id: KeyId, deadline: Deadline): Promise<KeyVersion> {
    return await this.#inTurn(id, async () => {
      const listing = await this.#parts.store.list();
      const lost = listing.lost.find((name) => name.id === id);
      const stored = listing.stored.filter((name) => name.id === id);
      const latest = stored.at(-1);
      if (latest !== undefined) {
        // The latest first and alone: an older one must not pass for it.
        await this.#unwrapStored(latest, true, deadline);
        const older = await this.unwrapEach(stored.slice(0, -1), deadline);
        for (const { error } of older) this.#parts.events.log('error', withHint(error));
        return latest.version;
      }
      // Rule: only a directory that was listed and holds nothing of that id means "new key".
      if (lost !== undefined) throw lostKey(lost, this.#parts.store.path);
      this.#assertAllowed(id);
      return await this.#createNext(id, keyVersion(1), deadline);
    });
  }

  /** @throws KeyError KEY_UNKNOWN when that version is not stored */
  async fetch(name: KeyName, deadline: Deadline): Promise<void> {
    await this.#unwrapStored(name, false, deadline);
  }

  /**
   * Creates the next version of a key.
   * @throws KeyError; nothing has changed then
   */
  async rotate(id: KeyId, deadline: Deadline): Promise<KeyVersion> {
    return await this.#inTurn(id, async () => {
      const latest = latestVersion(await this.#parts.store.list(), id);
      if (latest === undefined) {
        throw new KeyError('KEY_UNKNOWN', `key ${id} does not exist`, {
          hint: `a key is created when the first table uses it: CREATE TABLE ... ENCRYPTED=YES ENCRYPTION_KEY_ID=${id}`,
        });
      }
      const version = await this.#createNext(id, nextVersion(id, latest), deadline);
      this.#parts.events.count('rotations');
      return version;
    });
  }

  /**
   * Tries every stored key, whatever happens to the others.
   * @returns the number of keys rotated
   * @throws KeyError KEYS_FAILED when any failed
   */
  async rotateAll(deadline: Deadline): Promise<number> {
    const { stored, lost } = await this.#parts.store.list();
    const ids = [...new Set([...stored, ...lost].map(({ id }) => id))].sort((a, b) => a - b);
    const failures: { readonly id: KeyId; readonly error: KeyError }[] = [];
    await forEachBounded(ids, CONCURRENCY, async (id) => {
      try {
        await this.rotate(id, deadline);
      } catch (thrown) {
        failures.push({ id, error: toKeyError(thrown) });
      }
    });
    failures.sort((a, b) => a.id - b.id);
    for (const { error } of failures) this.#parts.events.log('error', withHint(error));
    const [first] = failures;
    if (first === undefined) return ids.length;
    const list = failures.map(({ id }) => id).join(', ');
    throw new KeyError(
      'KEYS_FAILED',
      `rotated ${ids.length - failures.length} of ${ids.length} keys; not rotated: ${list}; ${first.error.message}`,
      { hint: first.error.hint, cause: first.error },
    );
  }

  async #unwrapStored(name: KeyName, current: boolean, deadline: Deadline): Promise<void> {
    const { store, kms, events } = this.#parts;
    const { wrapped, sidecar, sidecarProblem } = await store.read(name);
    if (sidecarProblem !== undefined) events.log('warning', withHint(sidecarProblem));
    const request = { wrapped, masterKeyArn: sidecar?.masterKeyArn };
    const { plaintext } = await kms.decrypt(
      `${describeKey(name)} (file ${keyFileName(name)})`,
      request,
      sidecar?.keySpec,
      deadline,
    );
    this.#handOver(name, current, plaintext);
  }

  /** Creates `first`, or the next free version when another process was faster. */
  async #createNext(id: KeyId, first: KeyVersion, deadline: Deadline): Promise<KeyVersion> {
    this.#assertMayCreate(id);
    let version = first;
    for (let races = 0; ; races += 1) {
      try {
        await this.#create({ id, version }, deadline);
        return version;
      } catch (thrown) {
        const error = toKeyError(thrown);
        if (error.code !== 'KEY_EXISTS' || races === MAX_LOST_RACES) throw error;
        if (version === 1) {
          // A new key was asked for, and the other process has just made it.
          await this.#unwrapStored({ id, version }, true, deadline);
          return version;
        }
        this.#parts.events.log('note', `${error.message}; taking the next version`);
        const latest = latestVersion(await this.#parts.store.list(), id) ?? version;
        version = nextVersion(id, latest);
      }
    }
  }

  async #create(name: KeyName, deadline: Deadline): Promise<void> {
    const { store, kms, clock, settings, events } = this.#parts;
    const { masterKeyId, keySpec } = settings;
    const subject = describeKey(name);
    const made = await kms.generate(`${subject} (master key ${masterKeyId})`, { masterKeyId, keySpec }, deadline);
    const created = new Date(clock.wallMs()).toISOString();
    const sidecar = { masterKeyArn: made.masterKeyArn, keySpec, created, requestId: made.requestId };
    const plaintext = await store.create(name, made.wrapped, sidecar, async (wrapped) => {
      const request = { wrapped, masterKeyArn: made.masterKeyArn };
      const { plaintext: value } = await kms.decrypt(subject, request, keySpec, deadline);
      return { value, discard: () => wipe(value) };
    });
    events.log('note', `generated encrypted datakey for key id=${name.id}, version=${name.version}`);
    events.count('keysCreated');
    this.#handOver(name, true, plaintext);
  }

  #handOver(name: KeyName, current: boolean, dataKey: Uint8Array): void {
    const { events } = this.#parts;
    try {
      events.announce(name, current, dataKey);
      events.log('note', `loaded key ${name.id}, version ${name.version}, key length ${dataKey.length * 8} bit`);
    } finally {
      wipe(dataKey);
    }
  }

  #assertMayCreate(id: KeyId): void {
    const { role, settings } = this.#parts;
    if (role === 'backup') {
      throw new KeyError(
        'KEY_NOT_ALLOWED',
        `key ${id} is not in ${this.#parts.store.path}, and a backup never creates keys`,
        {
          hint: 'point aws_key_management_keyfile_dir at the key files that belong to this data',
        },
      );
    }
    // Mock mode is for trials: its one master key needs no name.
    if (settings.masterKeyId === '' && !settings.mock) {
      throw new KeyError('KEY_NOT_ALLOWED', `key ${id} cannot be created: aws_key_management_master_key_id is empty`, {
        hint: "SET GLOBAL aws_key_management_master_key_id = 'alias/...', or its key id or ARN",
      });
    }
  }

  /** The list limits new ids only: a key that exists may always get another version. */
  #assertAllowed(id: KeyId): void {
    if (!allowsKeyId(this.#parts.settings.keyIds, id)) {
      throw new KeyError(
        'KEY_NOT_ALLOWED',
        `key ${id} is not among the key ids that aws_key_management_key_ids allows`,
        {
          hint: `use an allowed id, or add ${id} with SET GLOBAL aws_key_management_key_ids`,
        },
      );
    }
  }

  async #inTurn<T>(id: KeyId, action: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(id) ?? Promise.resolve();
    const result = before.then(action);
    const turn = result.then(
      () => undefined,
      () => undefined,
    );
    this.#turns.set(id, turn);
    try {
      return await result;
    } finally {
      if (this.#turns.get(id) === turn) this.#turns.delete(id);
    }
  }
}

export function withHint(error: KeyError): string {
  return error.hint === '' ? error.message : `${error.message}; ${error.hint}`;
}

/** A lost version counts: its number may be on pages, and is never used twice. */
function latestVersion({ stored, lost }: Listing, id: KeyId): KeyVersion | undefined {
  let latest: KeyVersion | undefined;
  for (const name of [...stored, ...lost]) {
    if (name.id === id && (latest === undefined || name.version > latest)) latest = name.version;
  }
  return latest;
}

function nextVersion(id: KeyId, latest: KeyVersion): KeyVersion {
  if (latest === MAX_KEY_VERSION) {
    throw new KeyError('KEY_VERSIONS_EXHAUSTED', `key ${id} is at its last version, ${MAX_KEY_VERSION}`, {
      hint: 'move the tables to another key: ALTER TABLE ... ENCRYPTION_KEY_ID=...',
    });
  }
  return keyVersion(latest + 1);
}

/** Of names in ascending order: the latest version of each id first, then the older ones. */
function latestFirst(names: readonly KeyName[]): KeyName[] {
  const isLatest = (index: number): boolean => names[index]?.id !== names[index + 1]?.id;
  return [...names.filter((_, index) => isLatest(index)), ...names.filter((_, index) => !isLatest(index))];
}

function lostKey(name: KeyName, path: string): KeyError {
  return new KeyError(
    'KEY_FILE_MISSING',
    `${describeKey(name)}: its sidecar is in ${path}, its key file ${keyFileName(name)} is gone`,
    {
      hint: 'restore the key file from a backup of the key directory; data encrypted with it cannot be read without it',
    },
  );
}
