import { resolve } from 'node:path';
import { keyCheckValue, wipe } from '../bytes.ts';
import { KeyError } from '../errors.ts';
import type { KeyName as InternalName } from '../format/key-file-name.ts';
import { keyId, keyVersion } from '../ids.ts';
import { Keyring as Core } from '../keyring/keyring.ts';
import { parseSettings } from '../keyring/settings.ts';
import { keysNamedBy } from '../keystore/failures.ts';
import { openStore } from '../keystore/open-store.ts';
import { checkMembers, contextPairs, text } from './arguments.ts';
import type { CallOptions } from './calls.ts';
import { publicName } from './convert-names.ts';
import type { Kms } from './kms.ts';
import { partsOf } from './kms-parts.ts';
import { limited } from './limited.ts';
import type { EncryptionAlgorithm, EncryptionContext, KeyName } from './names.ts';
import { redacted, withoutSecrets } from './surroundings.ts';

export interface KeyringOptions extends CallOptions {
  /** The path of the key directory, or of a backup of it. */
  readonly directory: string;
  /** From `createKms`. The keyring does not close it. */
  readonly kms: Kms;
  /** The pairs that keys without a sidecar may be bound to; default: none. */
  readonly encryptionContext?: EncryptionContext | undefined;
  /** True: versions that cannot be unwrapped are in `failures`. Default false: `openKeyring` then rejects. */
  readonly allowFailures?: boolean | undefined;
}

/** The data keys of a directory, in the memory of this process. */
export interface Keyring {
  /** The unwrapped versions, by id and version; empty after `wipe`. */
  readonly keys: readonly DataKey[];
  /** The versions that could not be unwrapped, by id and version. */
  readonly failures: readonly KeyFailure[];
  /** The lines that the agent would log, in the order of events: an unusable sidecar, a file that is no key file. */
  readonly log: readonly LogLine[];

  /**
   * Returns a key version.
   * @param keyVersion default: the latest stored version, also when it could not be unwrapped
   * @throws KeyError KEY_UNKNOWN when it was not stored; the error of its failure when it could not be unwrapped; CLOSED
   * after `wipe`; BAD_OPTION for an id or a version that no key can have
   */
  get(keyId: number, keyVersion?: number): DataKey;

  /** Overwrites all data keys with zeros. Copies that the runtime made are out of reach. */
  wipe(): void;

  /** `wipe()`, for `using`. */
  [Symbol.dispose](): void;
}

export interface DataKey extends KeyName {
  /**
   * 16, 24 or 32 bytes. They belong to the keyring, whose `wipe` overwrites them. They are not enumerable: no log, JSON
   * or spread shows them.
   */
  readonly bytes: Uint8Array;
  readonly encryptionAlgorithm: EncryptionAlgorithm;
  /** Sixteen hex digits that tell whether two data keys are the same, and nothing else about them. */
  readonly keyCheckValue: string;
}

/** A line of the log. It holds no secret. */
export interface LogLine {
  readonly severity: 'note' | 'warning' | 'error';
  readonly text: string;
}

export interface KeyFailure extends KeyName {
  readonly error: KeyError;
}

/**
 * Unwraps every version in a key directory, each under the master key and the context that its sidecar names. It
 * creates, changes and deletes no file.
 * @throws KeyError STORE_UNAVAILABLE when the directory cannot be listed; KEYS_FAILED when a version cannot be unwrapped,
 * unless `allowFailures` is true; TIMEOUT, CLOSED, BAD_OPTION. Data keys that were unwrapped before are wiped.
 */
export async function openKeyring(options: KeyringOptions): Promise<Keyring> {
  checkMembers('options', options, {
    directory: true,
    kms: true,
    encryptionContext: true,
    allowFailures: true,
    timeoutMs: true,
    signal: true,
  });
  const { directory, kms, allowFailures = false, timeoutMs, signal } = options;
  const encryptionContext = contextPairs(options.encryptionContext ?? {});
  const place = resolve(text('directory', directory));
  const parts = partsOf(kms);
  const { caller, surroundings } = parts;
  const keys: UnwrappedKey[] = [];
  const log: LogLine[] = [];
  return await limited(parts, { timeoutMs, signal }, async (deadline) => {
    const settings = { ...parseSettings(new Map([['keyfile_dir', place]])), encryptionContext };
    const core = new Core({
      // A backup creates no key, and changes nothing in the directory.
      role: 'backup',
      unnamedHeld: 0,
      settings: () => settings,
      store: openStore(place, surroundings, keysNamedBy('the directory given to openKeyring')),
      kms: caller,
      clock: surroundings.clock,
      events: {
        announce: (name, _, algorithm, dataKey) => void keys.push(new UnwrappedKey(name, algorithm, dataKey)),
        log: (severity, line) => void log.push({ severity, text: redacted(line, surroundings) }),
        count: () => undefined,
      },
    });
    try {
      const loaded = await core.loadAll(deadline);
      const failures = loaded.failures.map(({ name, error }) => ({
        ...publicName(name),
        error: withoutSecrets(error, surroundings),
      }));
      const [first] = failures;
      // Those that nobody waited for are no answer.
      if (first !== undefined && deadline.signal.aborted)
        throw failures.find(({ error }) => error.code === 'TIMEOUT')?.error ?? first.error;
      if (first !== undefined && !allowFailures) throw cannotUnwrap(failures.length, first);
      return new OpenKeyring(keys.sort(byName), failures.sort(byName), log);
    } catch (error) {
      for (const key of keys) key.wipe();
      throw error;
    } finally {
      core.close();
    }
  });
}

class OpenKeyring implements Keyring {
  #keys: readonly UnwrappedKey[] | undefined;
  readonly failures: readonly KeyFailure[];
  readonly log: readonly LogLine[];

  constructor(keys: readonly UnwrappedKey[], failures: readonly KeyFailure[], log: readonly LogLine[]) {
    this.#keys = keys;
    this.failures = failures;
    this.log = log;
  }

  get keys(): readonly DataKey[] {
    return this.#keys ?? [];
  }

  get(id: number, version?: number): DataKey {
    const wanted = { id: keyId(id), version: version === undefined ? undefined : keyVersion(version) };
    if (this.#keys === undefined) throw new KeyError('CLOSED', `key ${id}: the keyring was wiped`);
    const stored = [...this.#keys, ...this.failures].filter((key) => key.keyId === wanted.id).sort(byName);
    const found = version === undefined ? stored.at(-1) : stored.find((key) => key.keyVersion === wanted.version);
    if (found === undefined) {
      const which = version === undefined ? '' : ` version ${version}`;
      throw new KeyError('KEY_UNKNOWN', `key ${id}${which} is not stored`);
    }
    if ('error' in found) throw found.error;
    return found;
  }

  wipe(): void {
    for (const key of this.#keys ?? []) key.wipe();
    this.#keys = undefined;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }
}

/** Members with `#` and those of the prototype are in no log and no JSON. */
class UnwrappedKey implements DataKey {
  readonly keyId: number;
  readonly keyVersion: number;
  readonly encryptionAlgorithm: EncryptionAlgorithm;
  readonly keyCheckValue: string;
  readonly #bytes: Uint8Array;

  constructor({ id, version }: InternalName, algorithm: EncryptionAlgorithm, dataKey: Uint8Array) {
    this.keyId = id;
    this.keyVersion = version;
    this.encryptionAlgorithm = algorithm;
    this.keyCheckValue = keyCheckValue(dataKey);
    this.#bytes = Uint8Array.from(dataKey);
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  wipe(): void {
    wipe(this.#bytes);
  }
}

function cannotUnwrap(count: number, { error }: KeyFailure): KeyError {
  const { message, hint, failure } = error;
  const which = count === 1 ? 'a stored key version' : `${count} stored key versions`;
  return new KeyError('KEYS_FAILED', `${which} cannot be unwrapped; the first: ${message}`, { hint, failure });
}

function byName(a: KeyName, b: KeyName): number {
  return a.keyId - b.keyId || a.keyVersion - b.keyVersion;
}
