import { resolve } from 'node:path';
import { keyCheckValue, wipe } from '../bytes.ts';
import { KeyError } from '../errors.ts';
import { keyId } from '../ids.ts';
import { Keyring as Core } from '../keyring/keyring.ts';
import { parseSettings } from '../keyring/settings.ts';
import { keysNamedBy } from '../keystore/failures.ts';
import { openStore } from '../keystore/open-store.ts';
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
  /** Receives a line about what was noticed, such as an unusable sidecar. It holds no secret. */
  readonly log?: ((severity: 'note' | 'warning' | 'error', text: string) => void) | undefined;
}

/** The data keys of a directory, in the memory of this process. */
export interface Keyring {
  /** The unwrapped versions, by id and version. */
  readonly keys: readonly DataKey[];
  /** The versions that could not be unwrapped, by id and version. */
  readonly failures: readonly KeyFailure[];

  /**
   * Returns a key version.
   * @param keyVersion default: the latest stored version, also when it could not be unwrapped
   * @throws KeyError KEY_UNKNOWN when it is not stored; the error of its failure when it could not be unwrapped;
   * BAD_OPTION for an id that no key can have
   */
  get(keyId: number, keyVersion?: number): DataKey;

  /** Overwrites all data keys with zeros. Copies that the runtime made are out of reach. */
  wipe(): void;
}

export interface DataKey extends KeyName {
  /** 16, 24 or 32 bytes. They belong to the keyring, whose `wipe` overwrites them. */
  readonly bytes: Uint8Array;
  readonly encryptionAlgorithm: EncryptionAlgorithm;
  /** Sixteen hex digits that tell whether two data keys are the same, and nothing else about them. */
  readonly keyCheckValue: string;
}

export interface KeyFailure extends KeyName {
  readonly error: KeyError;
}

/**
 * Unwraps every version in a key directory. It creates, changes and deletes no file.
 * @throws KeyError STORE_UNAVAILABLE when the directory cannot be listed; KEYS_FAILED when a version cannot be unwrapped,
 * unless `allowFailures` is true; BAD_OPTION. Data keys that were unwrapped before are wiped.
 */
export async function openKeyring(options: KeyringOptions): Promise<Keyring> {
  const { directory, kms, encryptionContext = {}, allowFailures = false, log } = options;
  const { caller, surroundings } = partsOf(kms);
  const place = resolve(directory);
  const keys: DataKey[] = [];
  const erase = (): void => {
    for (const { bytes } of keys) wipe(bytes);
  };
  return await limited(surroundings, options, async (deadline) => {
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
        announce: (name, _, encryptionAlgorithm, dataKey) => {
          const bytes = Uint8Array.from(dataKey);
          keys.push({ ...publicName(name), bytes, encryptionAlgorithm, keyCheckValue: keyCheckValue(bytes) });
        },
        log: (severity, text) => log?.(severity, redacted(text, surroundings)),
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
      if (first !== undefined && !allowFailures) throw cannotUnwrap(failures.length, first);
      return keyringOf(keys.sort(byName), failures, erase);
    } catch (error) {
      erase();
      throw error;
    } finally {
      core.close();
    }
  });
}

function keyringOf(keys: readonly DataKey[], failures: readonly KeyFailure[], erase: () => void): Keyring {
  return {
    keys,
    failures,
    get: (id, version) => {
      const stored = [...keys, ...failures].filter((key) => key.keyId === keyId(id)).sort(byName);
      const found = version === undefined ? stored.at(-1) : stored.find((key) => key.keyVersion === version);
      if (found === undefined) {
        const which = version === undefined ? '' : ` version ${version}`;
        throw new KeyError('KEY_UNKNOWN', `key ${id}${which} is not stored`);
      }
      if ('error' in found) throw found.error;
      return found;
    },
    wipe: erase,
  };
}

function cannotUnwrap(count: number, { error }: KeyFailure): KeyError {
  const { message, hint, failure } = error;
  const which = count === 1 ? 'a stored key version' : `${count} stored key versions`;
  return new KeyError('KEYS_FAILED', `${which} cannot be unwrapped; the first: ${message}`, { hint, failure });
}

function byName(a: KeyName, b: KeyName): number {
  return a.keyId - b.keyId || a.keyVersion - b.keyVersion;
}
