import { resolve } from 'node:path';
import type { KeyError } from '../errors.ts';
import { algorithmOf } from '../format/encryption-context.ts';
import type { Sidecar as InternalSidecar } from '../format/sidecar.ts';
import { keysNamedBy } from '../keystore/failures.ts';
import { openStore } from '../keystore/open-store.ts';
import { text } from './arguments.ts';
import { internalName, publicName } from './convert-names.ts';
import type { EncryptionAlgorithm, EncryptionContext, KeyName, KeySpec } from './names.ts';
import { guarded, systemSurroundings } from './surroundings.ts';

/** A key directory, read only. Nothing is cached: each call looks at the files as they are. */
export interface KeyStore {
  /** The absolute path of the directory. */
  readonly directory: string;

  /** Lists the directory. @throws KeyError STORE_UNAVAILABLE; a directory that cannot be read is never an empty one */
  list(): Promise<KeyListing>;

  /**
   * Reads a wrapped key with its sidecar. KMS is not asked.
   * @throws KeyError KEY_UNKNOWN when it is not stored; KEY_FILE_UNREADABLE, KEY_FILE_CORRUPT, KEY_FILE_SWAPPED;
   * BAD_OPTION for a name that no key can have
   */
  read(name: KeyName): Promise<StoredKey>;
}

export interface KeyListing {
  /** Every stored version, by id and version. */
  readonly stored: readonly KeyName[];
  /** Versions of which only the sidecar is left: their wrapped key was lost. */
  readonly lost: readonly KeyName[];
  /** File names that begin like that of a wrapped key but are malformed. */
  readonly strays: readonly string[];
}

export interface StoredKey extends KeyName {
  /** KMS's CiphertextBlob, 1 to 6144 bytes. */
  readonly wrapped: Uint8Array;
  /** Undefined for keys of the original plugin, and when the sidecar is unusable. */
  readonly sidecar: Sidecar | undefined;
  /** The reason why an existing sidecar is unusable. */
  readonly sidecarProblem: KeyError | undefined;
}

/** The facts about a data key that are stored beside it. None is secret. */
export interface Sidecar {
  /** ARN of the master key that wrapped the key; never an alias. */
  readonly masterKeyArn: string;
  /** AES_192, a data key of 24 bytes, comes from imports only: KMS makes none. */
  readonly keySpec: KeySpec | 'AES_192';
  /** ISO 8601, UTC. */
  readonly created: string;
  /** The pairs that the wrapped key is bound to; empty for none. */
  readonly encryptionContext: EncryptionContext;
  readonly encryptionAlgorithm: EncryptionAlgorithm;
  /** Sixteen hex digits, as `keyCheckValue()` makes them; undefined in sidecars of early releases. */
  readonly keyCheckValue: string | undefined;
  /** SHA-256 of the wrapped key, 64 lower-case hex digits. */
  readonly wrappedSha256: string;
  /** KMS's request id, for CloudTrail; empty when unknown. */
  readonly requestId: string;
}

/**
 * Opens a key directory with the rights of this process. Touches no file before the first call.
 * @param directory its path; a relative one is resolved now
 * @throws KeyError BAD_OPTION for an empty path
 */
export function openKeyStore(directory: string): KeyStore {
  const surroundings = systemSurroundings();
  const store = openStore(
    resolve(text('directory', directory)),
    surroundings,
    keysNamedBy('the directory given to openKeyStore'),
  );
  return {
    directory: store.place,
    list: () =>
      guarded(surroundings, async () => {
        const { stored, lost, strays } = await store.list();
        return { stored: stored.map(publicName), lost: lost.map(publicName), strays };
      }),
    read: (name) =>
      guarded(surroundings, async () => {
        const { wrapped, sidecar, sidecarProblem } = await store.read(internalName(name));
        return {
          keyId: name.keyId,
          keyVersion: name.keyVersion,
          wrapped: new Uint8Array(wrapped),
          sidecar: sidecar && publicSidecar(sidecar),
          sidecarProblem,
        };
      }),
  };
}

function publicSidecar(sidecar: InternalSidecar): Sidecar {
  const { masterKeyArn, keySpec, created, encryptionContext, keyCheckValue, wrappedSha256, requestId } = sidecar;
  const encryptionAlgorithm = algorithmOf(encryptionContext);
  return {
    masterKeyArn,
    keySpec,
    created,
    encryptionContext,
    encryptionAlgorithm,
    keyCheckValue,
    wrappedSha256,
    requestId,
  };
}
