import type { KeyError } from '../errors.ts';
import type { KeyName } from '../format/key-file-name.ts';
import type { Sidecar } from '../format/sidecar.ts';
import type { Named } from './failures.ts';

/**
 * A store of wrapped keys that outlive the process. Every version is created once and stays: only `replace` changes its
 * bytes, to others of the same data key. The store never sees a plaintext key.
 */
export interface KeyStore {
  /** The store's name in messages, such as the path of a directory. */
  readonly place: string;
  /** The setting that chose the store. */
  readonly named: Named;

  /** @throws KeyError STORE_UNAVAILABLE; a store that cannot be looked at is never an empty one */
  list(): Promise<Listing>;

  /**
   * Reads a wrapped key and the sidecar that describes it.
   * @throws KeyError KEY_FILE_UNREADABLE, KEY_FILE_CORRUPT, KEY_FILE_SWAPPED, KEY_UNKNOWN when it is not stored
   */
  read(name: KeyName): Promise<StoredKey>;

  /**
   * As `read`, but also returns bytes that their sidecar does not describe: whether they hold the data key that it
   * describes is known when KMS has unwrapped them (`unwrapStoredKey`).
   * @throws KeyError as `read`
   */
  readToUnwrap(name: KeyName): Promise<StoredKey>;

  /**
   * Announces that these keys are about to be read, in this order, so that the store can fetch them ahead.
   * @returns a function that ends that
   */
  readAhead(names: readonly KeyName[]): () => void;

  /**
   * Calls `look` with the SHA-256 of each wrapped key as it is now, 32 bytes; undefined when it cannot be read or has
   * an invalid size.
   * @throws what `look` throws
   */
  digest(names: readonly KeyName[], look: (index: number, sha256: Buffer | undefined) => void): Promise<void>;

  /**
   * Stores a new version under an unused name. The bytes are stored, read back and given to `verify`; only then do they
   * get their name, and they are durable when the call returns. A failure before that leaves nothing behind. A sidecar
   * that cannot be stored is reported, and does not fail the key.
   * @throws KeyError KEY_EXISTS (another process made that version), STORE_UNAVAILABLE, and what `verify` throws
   */
  create<T>(key: NewKey<T>): Promise<T>;

  /**
   * Replaces the bytes that were read by others of the same data key. Interrupted at any time, it leaves a whole key.
   * @throws KeyError STORE_UNAVAILABLE, and what `verify` throws; the key is then the old one, or already the new one
   */
  replace(replacement: Replacement): Promise<void>;

  /**
   * Stores and removes a temporary file with the access of the key: what `replace` does without a visible change.
   * @throws KeyError STORE_UNAVAILABLE
   */
  rehearseReplace(name: KeyName, wrapped: Buffer): Promise<void>;

  /**
   * Stores the sidecar of a key that has none; one that another process stored meanwhile stays.
   * @throws KeyError STORE_UNAVAILABLE
   */
  addSidecar(
    name: KeyName,
    wrapped: Buffer,
    facts: Omit<Sidecar, 'wrappedSha256' | 'created' | 'requestId'>,
  ): Promise<void>;

  /**
   * Makes the sidecar describe bytes that it did not describe, and that KMS opened to its data key.
   * @returns false: a sidecar that fits by now stays, as does one beside other bytes
   * @throws KeyError STORE_UNAVAILABLE, and what `read` throws
   */
  correctSidecar(name: KeyName, wrapped: Buffer, masterKeyArn: string): Promise<boolean>;

  /**
   * Makes everything that has been listed or read durable: another process may have been killed before it did so.
   * @throws KeyError STORE_UNAVAILABLE
   */
  sync(): Promise<void>;

  /** Removes temporary files that dead processes left long ago. Failures are ignored. */
  removeAbandoned(temporaries: Listing['temporaries']): Promise<void>;

  /**
   * Reads the sealed key cache; undefined only when there is none.
   * @throws KeyError KEY_CACHE_UNUSABLE, STORE_UNAVAILABLE
   */
  readKeyCache(maxBytes: number): Promise<Buffer | undefined>;

  /**
   * Replaces the sealed key cache; losing the previous one costs nothing.
   * @throws KeyError STORE_UNAVAILABLE; the store then has the previous one, or already the new one
   */
  replaceKeyCache(bytes: Uint8Array): Promise<void>;

  /**
   * Claims the store for one rewrap, among all machines. It delays no server.
   * @param tell called with the reason for a delay
   * @throws KeyError KEY_EXISTS when another rewrap is running, STORE_UNAVAILABLE
   */
  claimForRewrap(holder: ClaimHolder, tell: (line: string) => void): Promise<RewrapClaim>;
}

export interface Listing {
  /** Every wrapped key, by id and version. */
  readonly stored: readonly KeyName[];
  /** Versions of which only the sidecar is left: their wrapped key was lost. */
  readonly lost: readonly KeyName[];
  /** Versions that were retired: they are missing on purpose. */
  readonly retired: readonly KeyName[];
  /** Names that begin like that of a wrapped key but are malformed. */
  readonly strays: readonly string[];
  /** Temporary files of any process, by the store's own names. */
  readonly temporaries: readonly string[];
  /** True: a new version may get its sidecar soon. */
  readonly isSidecarComing: boolean;
}

export interface StoredKey {
  /** KMS's CiphertextBlob, 1 to 6144 bytes. */
  readonly wrapped: Buffer;
  /** Undefined for keys of the original plugin, and when the sidecar is unusable. */
  readonly sidecar: Sidecar | undefined;
  /**
   * The reason why an existing sidecar is unusable. The key loads nevertheless, without being pinned to its master key.
   */
  readonly sidecarProblem: KeyError | undefined;
  /** The sidecar's bytes, usable or not; undefined when there is none, or it cannot be read. */
  readonly sidecarText: Buffer | undefined;
  /** The error of a sidecar that describes other bytes. Never set by `read`. */
  readonly mismatch?: KeyError | undefined;
}

export interface VerifiedKey<T> {
  /** The result of `create`. */
  readonly value: T;
  readonly keyCheckValue: string;
  /** Called when the key is not created after all. */
  discard(): void;
}

export interface NewKey<T> {
  readonly name: KeyName;
  readonly wrapped: Buffer;
  readonly sidecar: Omit<Sidecar, 'wrappedSha256' | 'keyCheckValue'>;
  /** Unwraps the bytes that were stored. */
  readonly verify: (stored: Buffer) => Promise<VerifiedKey<T>>;
  /** Called with problems that do not affect the key. */
  readonly report: (problem: KeyError) => void;
}

export interface Replacement {
  readonly name: KeyName;
  /** The stored key as `read` returned it; the caller has a copy of its bytes. */
  readonly before: StoredKey;
  /** The same data key under another master key. */
  readonly wrapped: Buffer;
  readonly masterKeyArn: string;
  readonly requestId: string;
  /** Unwraps the bytes that were stored; returns the key check value. */
  readonly verify: (stored: Buffer) => Promise<string>;
  /** Called right before each visible step; throws when another process may be doing the same. */
  readonly assertAlone: () => Promise<void>;
}

export interface ClaimHolder {
  readonly host: string;
  readonly pid: number;
}

/** The claim of a rewrap on a store. */
export interface RewrapClaim {
  /** @throws KeyError STORE_UNAVAILABLE when another process may hold the claim by now */
  assertHeld(): Promise<void>;
  /** Releases the claim. Never rejects: the next process takes an unreleased claim over. */
  release(): Promise<void>;
}
