import type { KeyError } from '../errors.ts';
import type { KeyName } from '../format/key-file-name.ts';
import type { Sidecar } from '../format/sidecar.ts';
import type { Named } from './failures.ts';

/**
 * Wrapped keys that outlive the process. Every version is created once and stays: only `replace` puts other bytes of the
 * same data key in its place. The store never sees a plaintext key.
 */
export interface KeyStore {
  /** Names the store in messages, such as the path of a directory. */
  readonly place: string;
  /** Names the setting that chose it. */
  readonly named: Named;

  /** @throws KeyError STORE_UNAVAILABLE; a store that cannot be looked at is never an empty one */
  list(): Promise<Listing>;

  /**
   * Reads a wrapped key and the sidecar that describes it.
   * @throws KeyError KEY_FILE_UNREADABLE, KEY_FILE_CORRUPT, KEY_FILE_SWAPPED, KEY_UNKNOWN when it is not stored
   */
  read(name: KeyName): Promise<StoredKey>;

  /**
   * As `read`, but also bytes that their sidecar does not describe: whether they hold the data key that it does describe
   * shows when KMS unwraps them (`unwrapStoredKey`).
   * @throws KeyError as `read`
   */
  readToUnwrap(name: KeyName): Promise<StoredKey>;

  /**
   * Announces that these are about to be read, in this order, so that the store can fetch them ahead.
   * @returns a function that ends that
   */
  readAhead(names: readonly KeyName[]): () => void;

  /**
   * Gives `look` the SHA-256 of each wrapped key as it is now, 32 bytes; undefined when it cannot be read, or is no wrapped key by its size.
   * @throws what `look` throws
   */
  digest(names: readonly KeyName[], look: (index: number, sha256: Buffer | undefined) => void): Promise<void>;

  /**
   * Stores a new version under a name that nobody has. The bytes are stored, read back and given to `verify`; only when that
   * succeeds do they get their name, and they are durable when the call returns. A failure before that leaves nothing behind.
   * A sidecar that cannot be stored costs the key nothing: it is reported.
   * @throws KeyError KEY_EXISTS (another process made that version), STORE_UNAVAILABLE, and what `verify` throws
   */
  create<T>(key: NewKey<T>): Promise<T>;

  /**
   * Puts other bytes of the same data key in the place of those that were read. Cut short at any time, it leaves a whole key.
   * @throws KeyError STORE_UNAVAILABLE, and what `verify` throws; the key is as it was then, or already the new one
   */
  replace(replacement: Replacement): Promise<void>;

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
   * Has the sidecar describe bytes that it did not, and that KMS opened to its data key.
   * @returns false: one that fits by now stays, as does one beside other bytes
   * @throws KeyError STORE_UNAVAILABLE, and what `read` throws
   */
  correctSidecar(name: KeyName, wrapped: Buffer, masterKeyArn: string): Promise<boolean>;

  /**
   * Makes durable whatever has been listed or read: another process may have been killed before it came to that.
   * @throws KeyError STORE_UNAVAILABLE
   */
  sync(): Promise<void>;

  /** Removes work in progress that a process which ended left behind long ago. Failing to is of no consequence. */
  removeAbandoned(temporaries: Listing['temporaries']): Promise<void>;

  /**
   * Reads the sealed key ring; undefined only when there is none.
   * @throws KeyError KEY_RING_UNUSABLE, STORE_UNAVAILABLE
   */
  readKeyRing(maxBytes: number): Promise<Buffer | undefined>;

  /**
   * Puts a sealed key ring in the place of the one before: nothing is lost with that.
   * @throws KeyError STORE_UNAVAILABLE; the one before is still there then, or already the new one
   */
  replaceKeyRing(bytes: Uint8Array): Promise<void>;

  /**
   * Claims the store for one rewrap, whatever machine another runs on. It holds up no server.
   * @param tell hears why this takes a while
   * @throws KeyError KEY_EXISTS when another rewrap is at work, STORE_UNAVAILABLE
   */
  claimForRewrap(holder: ClaimHolder, tell: (line: string) => void): Promise<RewrapClaim>;
}

export interface Listing {
  /** Every wrapped key, by id and version. */
  readonly stored: readonly KeyName[];
  /** Versions that only a sidecar tells of: their wrapped key was lost. */
  readonly lost: readonly KeyName[];
  /** Names that begin like that of a wrapped key and are none. */
  readonly strays: readonly string[];
  /** Work in progress of any process, by names of the store's own. */
  readonly temporaries: readonly string[];
  /** A new version may get its sidecar yet. */
  readonly isSidecarComing: boolean;
}

export interface StoredKey {
  /** KMS's CiphertextBlob, 1 to 6144 bytes. */
  readonly wrapped: Buffer;
  /** Undefined for keys of the original plugin, and when the sidecar is of no use. */
  readonly sidecar: Sidecar | undefined;
  /** Why an existing sidecar is of no use. The key loads all the same, unpinned from its master key. */
  readonly sidecarProblem: KeyError | undefined;
  /** What was read as the sidecar, of use or not; undefined when there is none, or none that can be read. */
  readonly sidecarText: Buffer | undefined;
  /** The sidecar is of other bytes than these. Never set by `read`. */
  readonly mismatch?: KeyError | undefined;
}

export interface VerifiedKey<T> {
  /** The result of `create`. */
  readonly value: T;
  readonly keyCheckValue: string;
  /** Called when the key gets no name after all. */
  discard(): void;
}

export interface NewKey<T> {
  readonly name: KeyName;
  readonly wrapped: Buffer;
  readonly sidecar: Omit<Sidecar, 'wrappedSha256' | 'keyCheckValue'>;
  /** Unwraps the bytes that were stored. */
  readonly verify: (stored: Buffer) => Promise<VerifiedKey<T>>;
  /** Told of what went wrong without harm to the key. */
  readonly report: (problem: KeyError) => void;
}

export interface Replacement {
  readonly name: KeyName;
  /** What is there now, as `read` gave it; its bytes are safe elsewhere. */
  readonly before: StoredKey;
  /** The same data key under another master key. */
  readonly wrapped: Buffer;
  readonly masterKeyArn: string;
  readonly requestId: string;
  /** Unwraps the bytes that were stored; returns the key check value. */
  readonly verify: (stored: Buffer) => Promise<string>;
  /** Called right before each step that others see; throws when somebody else may do the same. */
  readonly assertAlone: () => Promise<void>;
}

export interface ClaimHolder {
  readonly host: string;
  readonly pid: number;
}

/** The claim of a rewrap on a store. */
export interface RewrapClaim {
  /** @throws KeyError STORE_UNAVAILABLE when it may be another's by now */
  assertHeld(): Promise<void>;
  /** Never rejects: a claim that is left behind is taken over by the next. */
  release(): Promise<void>;
}
