import { hash } from 'node:crypto';
import { join } from 'node:path';
import type { Clock, Random } from '../clock.ts';
import type { Access, FileSystem } from '../disk/file-system.ts';
import { accessOf, readWhole, sha256, syncDirectory, temporaryPath, writeNew } from '../disk/files.ts';
import type { ReadAhead } from '../disk/read-ahead.ts';
import { KeyError, systemErrorCode, toKeyError } from '../errors.ts';
import {
  compareKeyNames,
  describeKey,
  KEY_RING_FILE,
  type KeyName,
  keyFileName,
  parseFileName,
  SIDECAR_SUFFIX,
  sidecarFileName,
} from '../format/key-file-name.ts';
import { formatSidecar, MAX_SIDECAR_BYTES, parseSidecar, type Sidecar, sidecarOfBytes } from '../format/sidecar.ts';
import { writtenTime } from '../format/written-time.ts';
import { MAX_WRAPPED_KEY_BYTES } from '../kms/client.ts';
import {
  changedMeanwhile,
  KEYS_OF_SERVER,
  type Named,
  notLookedAt,
  otherBytes,
  storeUnavailable,
  unreadable,
} from './failures.ts';

export interface Listing {
  /** Every wrapped key, by id and version. */
  readonly stored: readonly KeyName[];
  /** Versions that only a sidecar tells of: their key file was lost. */
  readonly lost: readonly KeyName[];
  /** Names that begin like a key file and are none. */
  readonly strays: readonly string[];
  readonly temporaries: readonly string[];
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
  /** Called right before each file gets its name; throws when somebody else may do the same. */
  readonly assertAlone: () => Promise<void>;
}

/** Work in progress older than this was left behind by a process that ended. */
const ABANDONED_AFTER_MS = 3_600_000;
/** To start a thread takes as long as to read some hundred files. */
const WORTH_A_THREAD = 1_000;
const READ_AHEAD_FILES = 2_048;

/**
 * A directory of wrapped keys: `aws-kms-key.<id>.<version>` holds the CiphertextBlob and nothing else. Files are
 * created and never deleted; only `replace` puts other bytes of the same data key into one.
 */
export class KeyDirectory {
  readonly path: string;
  readonly #fs: FileSystem;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #named: Named;
  /** One byte more than a wrapped key may have. */
  readonly #page = Buffer.alloc(MAX_WRAPPED_KEY_BYTES + 1);
  #ahead: ReadAhead | undefined;
  #syncing: Promise<void> = Promise.resolve();
  #nextSync: Promise<void> | undefined;

  constructor(path: string, fs: FileSystem, clock: Clock, random: Random, named: Named = KEYS_OF_SERVER) {
    this.path = path;
    this.#fs = fs;
    this.#clock = clock;
    this.#random = random;
    this.#named = named;
  }

  /** @throws KeyError STORE_UNAVAILABLE; "could not look" is never "nothing there" */
  async list(): Promise<Listing> {
    let files: string[];
    try {
      files = await this.#fs.readdir(this.path);
    } catch (cause) {
      throw await notLookedAt(this.path, 'list', cause, this.#named, this.#fs);
    }
    const stored: KeyName[] = [];
    const keyFiles = new Set<string>();
    const sidecars: [file: string, name: KeyName][] = [];
    const strays: string[] = [];
    const temporaries: string[] = [];
    for (const file of files) {
      const parsed = parseFileName(file);
      if (parsed.kind === 'wrapped-key') {
        stored.push(parsed.name);
        keyFiles.add(file);
      } else if (parsed.kind === 'sidecar') sidecars.push([file, parsed.name]);
      else if (parsed.kind === 'stray') strays.push(file);
      else if (parsed.kind === 'temporary') temporaries.push(file);
    }
    const lost = sidecars.filter(([file]) => !keyFiles.has(file.slice(0, -SIDECAR_SUFFIX.length)));
    return {
      stored: stored.sort(compareKeyNames),
      lost: lost.map(([, name]) => name).sort(compareKeyNames),
      strays: strays.sort(),
      temporaries,
    };
  }

  /**
   * `read` of these, or `digest`, is to follow soon and in this order: another thread begins to read their files.
   * @returns what ends that
   */
  readAhead(names: readonly KeyName[], what: 'keys' | 'digests'): () => void {
    if (names.length < WORTH_A_THREAD) return () => undefined;
    const files = names.flatMap((name) =>
      what === 'keys' ? [keyFileName(name), sidecarFileName(name)] : [keyFileName(name)],
    );
    const window = what === 'keys' ? READ_AHEAD_FILES : files.length;
    const ahead = this.#fs.startReadAhead?.({ directory: this.path, files, maxBytes: MAX_WRAPPED_KEY_BYTES, window });
    this.#ahead = ahead;
    return () => {
      ahead?.close();
      if (this.#ahead === ahead) this.#ahead = undefined;
    };
  }

  /**
   * A pair that fits, also while `replace` is at work on it: that changes the sidecar first.
   * @throws KeyError KEY_FILE_UNREADABLE, KEY_FILE_CORRUPT, KEY_FILE_SWAPPED, KEY_UNKNOWN when there is no such file
   */
  async read(name: KeyName): Promise<StoredKey> {
    const stored = await this.readToUnwrap(name);
    if (stored.mismatch !== undefined) throw stored.mismatch;
    return stored;
  }

  /**
   * As `read`, but also bytes that their sidecar does not describe: who has KMS unwrap them can tell whether they hold
   * the data key that it does describe (`unwrapStoredKey`).
   * @throws KeyError as `read`
   */
  async readToUnwrap(name: KeyName): Promise<StoredKey> {
    // Both at once: beside a key file that is read later, a sidecar from before may be another's by then.
    const [key, text] = [keyFileName(name), sidecarFileName(name)].map((file) => this.#ahead?.take(file));
    const wrapped = key ?? (await this.#readFile(name, keyFileName(name), MAX_WRAPPED_KEY_BYTES));
    if (wrapped === undefined) {
      throw new KeyError('KEY_UNKNOWN', `${describeKey(name)}: there is no file ${keyFileName(name)} in ${this.path}`, {
        hint: 'restore the file from a backup of the key directory',
      });
    }
    if (wrapped.length === 0) {
      throw corrupt(name, keyFileName(name), `expected 1 to ${MAX_WRAPPED_KEY_BYTES} bytes, got 0`);
    }
    const found = await this.#readSidecar(name, key === undefined ? undefined : text);
    if (found.sidecar === undefined) return { wrapped, ...found };
    // The wrapped key is the very one that the sidecar describes.
    const sum = sha256(wrapped);
    const fitting = sidecarOfBytes(found.sidecar, sum);
    if (fitting === undefined) return { wrapped, ...found, mismatch: otherBytes(name, sum, found.sidecar) };
    return { wrapped, ...found, sidecar: fitting };
  }

  /** SHA-256 of the key file as it is now; undefined when it cannot be read, or is no wrapped key by its size. */
  digest(name: KeyName): Buffer | undefined {
    const ahead = this.#ahead?.take(keyFileName(name));
    if (ahead !== undefined && ahead.length > 0) return hash('sha256', ahead, 'buffer');
    let length: number;
    try {
      length = this.#fs.readNow(`${this.path}/${keyFileName(name)}`, this.#page);
    } catch {
      return undefined;
    }
    if (length === 0 || length > MAX_WRAPPED_KEY_BYTES) return undefined;
    return hash('sha256', this.#page.subarray(0, length), 'buffer');
  }

  /**
   * Undefined only when there is none.
   * @throws KeyError KEY_RING_UNUSABLE, STORE_UNAVAILABLE
   */
  async readKeyRing(maxBytes: number): Promise<Buffer | undefined> {
    try {
      return await readWhole(this.#fs, join(this.path, KEY_RING_FILE), maxBytes);
    } catch (cause) {
      if (systemErrorCode(cause) === 'ENOENT') return undefined;
      if (cause instanceof KeyError) throw new KeyError('KEY_RING_UNUSABLE', cause.message, { cause });
      throw storeUnavailable(this.path, `read ${KEY_RING_FILE} in`, cause, this.#named);
    }
  }

  /**
   * Puts it in the place of the one before: nothing is lost with that.
   * @throws KeyError STORE_UNAVAILABLE; the one before is still there then, or already the new one
   */
  async replaceKeyRing(bytes: Uint8Array): Promise<void> {
    await this.#overwrite(KEY_RING_FILE, bytes);
  }

  async #overwrite(file: string, bytes: Uint8Array, like?: Access): Promise<void> {
    const temporary = temporaryPath(this.path, this.#random);
    try {
      await writeNew(this.#fs, temporary, bytes, like);
      await this.#fs.rename(temporary, join(this.path, file));
    } catch (cause) {
      throw storeUnavailable(this.path, `store ${file} in`, cause, this.#named);
    } finally {
      await this.#discard(temporary);
    }
    await this.sync();
  }

  /** @param ahead its text, where that was read already */
  async #readSidecar(
    name: KeyName,
    ahead: Buffer | undefined,
  ): Promise<Pick<StoredKey, 'sidecar' | 'sidecarProblem' | 'sidecarText'>> {
    let sidecarText = ahead;
    try {
      sidecarText ??= await this.#readFile(name, sidecarFileName(name), MAX_SIDECAR_BYTES);
      const sidecar = sidecarText && parseSidecar(name, sidecarText.toString('utf8'));
      return { sidecar, sidecarProblem: undefined, sidecarText };
    } catch (thrown) {
      const error = toKeyError(thrown);
      // A damaged sidecar says nothing; one of another key says that the key file may be another's, too.
      if (error.code === 'KEY_FILE_SWAPPED') throw error;
      return { sidecar: undefined, sidecarProblem: error, sidecarText };
    }
  }

  /**
   * Stores a new wrapped key. The bytes are written and synced under a temporary name, read back and given to `verify`;
   * only when that succeeds do they get their name, and only then are file and directory durable and the call returns.
   * A failure before that leaves nothing behind. A sidecar that cannot be stored costs the key nothing: it is reported.
   * @throws KeyError KEY_EXISTS (another process made that version), STORE_UNAVAILABLE, and what `verify` throws
   */
  async create<T>({ name, wrapped, sidecar, verify, report }: NewKey<T>): Promise<T> {
    const temporary = temporaryPath(this.path, this.#random);
    const temporarySidecar = `${temporary}.json`;
    try {
      await this.#storing(name, () => writeNew(this.#fs, temporary, wrapped));
      const stored = await this.#storing(name, () => readWhole(this.#fs, temporary, MAX_WRAPPED_KEY_BYTES));
      const verified = await verify(stored);
      try {
        const { keyCheckValue } = verified;
        const text = formatSidecar(name, { ...sidecar, wrappedSha256: sha256(wrapped), keyCheckValue });
        await this.#storing(name, () => writeNew(this.#fs, temporarySidecar, Buffer.from(text)));
        await this.#publish(name, temporary);
      } catch (error) {
        verified.discard();
        throw error;
      }
      await this.#publishSidecar(name, temporarySidecar).catch((error: unknown) => report(toKeyError(error)));
      return verified.value;
    } finally {
      await this.#discard(temporary);
      await this.#discard(temporarySidecar);
    }
  }

  /**
   * Stores the sidecar of a key that has none; one that another process stored meanwhile stays.
   * @throws KeyError STORE_UNAVAILABLE
   */
  async addSidecar(
    name: KeyName,
    wrapped: Buffer,
    facts: Omit<Sidecar, 'wrappedSha256' | 'created' | 'requestId'>,
  ): Promise<void> {
    const temporary = temporaryPath(this.path, this.#random);
    try {
      await this.#storing(name, async () => {
        const { mtimeMs } = await this.#fs.stat(join(this.path, keyFileName(name)));
        const sidecar = { ...facts, created: writtenTime(mtimeMs), requestId: '' };
        await writeNew(
          this.#fs,
          temporary,
          Buffer.from(formatSidecar(name, { ...sidecar, wrappedSha256: sha256(wrapped) })),
        );
        await this.#fs.link(temporary, join(this.path, sidecarFileName(name))).catch((cause: unknown) => {
          if (systemErrorCode(cause) !== 'EEXIST') throw cause;
        });
      });
      await this.sync();
    } finally {
      await this.#discard(temporary);
    }
  }

  /**
   * Has the sidecar speak of bytes that it did not, and that KMS opened to its data key. Whoever could read it still can.
   * @returns false: one that fits by now stays, as does one beside other bytes
   * @throws KeyError STORE_UNAVAILABLE, and what `read` throws
   */
  async correctSidecar(name: KeyName, wrapped: Buffer, masterKeyArn: string): Promise<boolean> {
    const { sidecar, mismatch, wrapped: found } = await this.readToUnwrap(name);
    if (sidecar === undefined || mismatch === undefined || !found.equals(wrapped)) return false;
    const { masterKeyArn: arn, wrappedSha256, requestId } = sidecar;
    const replaces = { masterKeyArn: arn, wrappedSha256, requestId };
    const facts = { masterKeyArn, wrappedSha256: sha256(wrapped), requestId: '', replaces };
    const file = sidecarFileName(name);
    const access = await this.#storing(name, () => accessOf(this.#fs, join(this.path, file)));
    await this.#overwrite(file, Buffer.from(formatSidecar(name, { ...sidecar, ...facts })), access);
    return true;
  }

  /**
   * Puts other bytes of the same data key in the place of those that were read. First the sidecar, which then speaks of
   * both, then the key file: whenever this is cut short, a whole key is there. Whoever could read it still can.
   * @throws KeyError STORE_UNAVAILABLE, and what `verify` throws; the key file is as it was then, or already the new one
   */
  async replace({ name, before, wrapped, masterKeyArn, requestId, verify, assertAlone }: Replacement): Promise<void> {
    const temporary = temporaryPath(this.path, this.#random);
    const temporarySidecar = temporaryPath(this.path, this.#random);
    const [keyFile, sidecarFile] = [join(this.path, keyFileName(name)), join(this.path, sidecarFileName(name))];
    try {
      const access = await this.#storing(name, () => accessOf(this.#fs, keyFile));
      await this.#storing(name, () => writeNew(this.#fs, temporary, wrapped, access));
      const stored = await this.#storing(name, () => readWhole(this.#fs, temporary, MAX_WRAPPED_KEY_BYTES));
      const keyCheckValue = await verify(stored);
      if (!(await this.read(name)).wrapped.equals(before.wrapped)) throw changedMeanwhile(name);
      if (before.sidecar !== undefined) {
        const { masterKeyArn: arn, wrappedSha256, requestId: request } = before.sidecar;
        const replaces = { masterKeyArn: arn, wrappedSha256, requestId: request };
        const facts = { masterKeyArn, wrappedSha256: sha256(wrapped), requestId, keyCheckValue, replaces };
        const text = Buffer.from(formatSidecar(name, { ...before.sidecar, ...facts }));
        await this.#storing(name, () => writeNew(this.#fs, temporarySidecar, text, access));
        await assertAlone();
        await this.#storing(name, () => this.#fs.rename(temporarySidecar, sidecarFile));
        await this.sync();
      }
      await assertAlone();
      await this.#storing(name, () => this.#fs.rename(temporary, keyFile));
      await this.sync();
    } finally {
      await this.#discard(temporary);
      await this.#discard(temporarySidecar);
    }
  }

  /** Removes work in progress that a process which ended left behind long ago. Failing to is of no consequence. */
  async removeAbandoned(temporaries: readonly string[]): Promise<void> {
    for (const file of temporaries) {
      const path = join(this.path, file);
      const age = await this.#fs.stat(path).then(
        (found) => this.#clock.wallMs() - found.mtimeMs,
        () => 0,
      );
      if (age > ABANDONED_AFTER_MS) await this.#discard(path);
    }
  }

  /**
   * Makes the names in the directory durable. What another process linked may not be yet, when it is found: it may have
   * been killed before it came to that. Many who ask meanwhile share the next sync: one that has begun may have missed
   * their names.
   * @throws KeyError STORE_UNAVAILABLE
   */
  async sync(): Promise<void> {
    this.#nextSync ??= this.#syncing
      .catch(() => undefined)
      .then(() => {
        this.#nextSync = undefined;
        this.#syncing = this.#syncNow();
        return this.#syncing;
      });
    await this.#nextSync;
  }

  async #syncNow(): Promise<void> {
    try {
      await syncDirectory(this.#fs, this.path);
    } catch (cause) {
      throw storeUnavailable(this.path, 'sync', cause, this.#named);
    }
  }

  /** The link of the key file is the moment of creation: whoever makes it owns the version, and so its sidecar. */
  async #publish(name: KeyName, temporary: string): Promise<void> {
    try {
      await this.#fs.link(temporary, join(this.path, keyFileName(name)));
    } catch (cause) {
      if (systemErrorCode(cause) === 'EEXIST') {
        throw new KeyError('KEY_EXISTS', `${describeKey(name)}: ${keyFileName(name)} was made by another process`, {
          cause,
        });
      }
      throw storeUnavailable(this.path, `create ${keyFileName(name)} in`, cause, this.#named);
    }
    await this.sync();
  }

  /** After the key is durable: a sidecar that survives without its key would tell of a lost one. */
  async #publishSidecar(name: KeyName, temporarySidecar: string): Promise<void> {
    await this.#storing(name, () => this.#fs.rename(temporarySidecar, join(this.path, sidecarFileName(name))));
    await this.sync();
  }

  async #storing<T>(name: KeyName, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (cause) {
      throw storeUnavailable(this.path, `store ${describeKey(name)} in`, cause, this.#named);
    }
  }

  /** Undefined only when there is no such file. */
  async #readFile(name: KeyName, file: string, maxBytes: number): Promise<Buffer | undefined> {
    try {
      return await readWhole(this.#fs, join(this.path, file), maxBytes);
    } catch (cause) {
      if (systemErrorCode(cause) === 'ENOENT') return undefined;
      if (cause instanceof KeyError) throw corrupt(name, file, cause.message);
      throw await unreadable(this.path, name, file, cause, this.#named, this.#fs);
    }
  }

  async #discard(path: string): Promise<void> {
    await this.#fs.unlink(path).catch(() => undefined);
  }
}

function corrupt(name: KeyName, file: string, reason: string): KeyError {
  const kind = file === sidecarFileName(name) ? 'sidecar' : 'key file';
  const hint = 'restore the file from a backup';
  return new KeyError('KEY_FILE_CORRUPT', `${describeKey(name)}: ${kind} ${file}: ${reason}`, { hint });
}
