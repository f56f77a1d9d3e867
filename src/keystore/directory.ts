import { join } from 'node:path';
import type { Clock, Random } from '../clock.ts';
import type { Access, FileSystem } from '../disk/file-system.ts';
import { accessOf, putInPlace, readWhole, sha256, syncDirectory, temporaryPath, writeNew } from '../disk/files.ts';
import { KeyError, systemErrorCode, toKeyError } from '../errors.ts';
import {
  compareKeyNames,
  describeKey,
  KEY_CACHE_FILE,
  type KeyName,
  keyFileName,
  parseFileName,
  RETIRED_DIRECTORY,
  SIDECAR_SUFFIX,
  sidecarFileName,
} from '../format/key-file-name.ts';
import { formatSidecar, type Sidecar } from '../format/sidecar.ts';
import { MAX_WRAPPED_KEY_BYTES } from '../format/wrapped-key.ts';
import { writtenTime } from '../format/written-time.ts';
import { changedMeanwhile, KEYS_OF_SERVER, type Named, notLookedAt, storeUnavailable } from './failures.ts';
import { KeyFileReader } from './key-file-reader.ts';
import { retiredIn } from './retired.ts';
import { RewrapLock } from './rewrap-lock.ts';
import type { ClaimHolder, KeyStore, Listing, NewKey, Replacement, RewrapClaim, StoredKey } from './store.ts';

/** Milliseconds after which a temporary file belongs to a dead process. */
const ABANDONED_AFTER_MS = 3_600_000;

/**
 * A store in a directory: `aws-kms-key.<id>.<version>` holds the CiphertextBlob and nothing else. A hard link claims
 * the name of a new version. Files are created and never deleted; only `replace` changes the bytes of one.
 */
export class KeyDirectory implements KeyStore {
  readonly place: string;
  readonly named: Named;
  readonly #fs: FileSystem;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #reader: KeyFileReader;
  #syncing: Promise<void> = Promise.resolve();
  #nextSync: Promise<void> | undefined;

  constructor(path: string, fs: FileSystem, clock: Clock, random: Random, named: Named = KEYS_OF_SERVER) {
    this.place = path;
    this.named = named;
    this.#fs = fs;
    this.#clock = clock;
    this.#random = random;
    this.#reader = new KeyFileReader(path, fs, named);
  }

  async list(): Promise<Listing> {
    let files: string[];
    try {
      files = await this.#fs.readdir(this.place);
    } catch (cause) {
      throw await notLookedAt(this.place, 'list', cause, this.named, this.#fs);
    }
    if (!files.includes(RETIRED_DIRECTORY)) return listingOf(files, []);
    // Its versions count as missing if that directory cannot be read.
    const retired = await retiredIn(this.place, this.#fs, this.named).catch(() => []);
    return listingOf(files, retired);
  }

  async read(name: KeyName): Promise<StoredKey> {
    return await this.#reader.read(name);
  }

  readToUnwrap(name: KeyName): Promise<StoredKey> {
    return this.#reader.readToUnwrap(name);
  }

  readAhead(names: readonly KeyName[]): () => void {
    return this.#reader.readAhead(names);
  }

  async digest(names: readonly KeyName[], look: (index: number, sha256: Buffer | undefined) => void): Promise<void> {
    await this.#reader.digest(names, look);
  }

  async readKeyCache(maxBytes: number): Promise<Buffer | undefined> {
    try {
      return await readWhole(this.#fs, join(this.place, KEY_CACHE_FILE), maxBytes);
    } catch (cause) {
      if (systemErrorCode(cause) === 'ENOENT') return undefined;
      if (cause instanceof KeyError) throw new KeyError('KEY_CACHE_UNUSABLE', cause.message, { cause });
      throw storeUnavailable(this.place, `read ${KEY_CACHE_FILE} in`, cause, this.named);
    }
  }

  async replaceKeyCache(bytes: Uint8Array): Promise<void> {
    await this.#overwrite(KEY_CACHE_FILE, bytes);
  }

  async #overwrite(file: string, bytes: Uint8Array, like?: Access): Promise<void> {
    try {
      await putInPlace(this.#fs, join(this.place, file), temporaryPath(this.place, this.#random), bytes, like);
    } catch (cause) {
      throw storeUnavailable(this.place, `store ${file} in`, cause, this.named);
    }
    await this.sync();
  }

  async create<T>({ name, wrapped, sidecar, verify, report }: NewKey<T>): Promise<T> {
    const temporary = temporaryPath(this.place, this.#random);
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

  async addSidecar(
    name: KeyName,
    wrapped: Buffer,
    facts: Omit<Sidecar, 'wrappedSha256' | 'created' | 'requestId'>,
  ): Promise<void> {
    const temporary = temporaryPath(this.place, this.#random);
    try {
      await this.#storing(name, async () => {
        const { mtimeMs } = await this.#fs.stat(join(this.place, keyFileName(name)));
        const sidecar = { ...facts, created: writtenTime(mtimeMs), requestId: '' };
        await writeNew(
          this.#fs,
          temporary,
          Buffer.from(formatSidecar(name, { ...sidecar, wrappedSha256: sha256(wrapped) })),
        );
        await this.#fs.link(temporary, join(this.place, sidecarFileName(name))).catch((cause: unknown) => {
          if (systemErrorCode(cause) !== 'EEXIST') throw cause;
        });
      });
      await this.sync();
    } finally {
      await this.#discard(temporary);
    }
  }

  /** As `KeyStore.correctSidecar`. The new sidecar keeps the old one's owner and mode. */
  async correctSidecar(name: KeyName, wrapped: Buffer, masterKeyArn: string): Promise<boolean> {
    const { sidecar, mismatch, wrapped: found } = await this.readToUnwrap(name);
    if (sidecar === undefined || mismatch === undefined || !found.equals(wrapped)) return false;
    const { masterKeyArn: arn, wrappedSha256, requestId } = sidecar;
    const replaces = { masterKeyArn: arn, wrappedSha256, requestId };
    const facts = { masterKeyArn, wrappedSha256: sha256(wrapped), requestId: '', replaces };
    const file = sidecarFileName(name);
    const access = await this.#storing(name, () => accessOf(this.#fs, join(this.place, file)));
    await this.#overwrite(file, Buffer.from(formatSidecar(name, { ...sidecar, ...facts })), access);
    return true;
  }

  /**
   * As `KeyStore.replace`. The sidecar is replaced first, and then describes both wrapped keys; the key file follows.
   * Both keep their owner and mode.
   */
  async replace({ name, before, wrapped, masterKeyArn, requestId, verify, assertAlone }: Replacement): Promise<void> {
    const temporary = temporaryPath(this.place, this.#random);
    const temporarySidecar = temporaryPath(this.place, this.#random);
    const [keyFile, sidecarFile] = [join(this.place, keyFileName(name)), join(this.place, sidecarFileName(name))];
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

  async rehearseReplace(name: KeyName, wrapped: Buffer): Promise<void> {
    const temporary = temporaryPath(this.place, this.#random);
    try {
      const access = await this.#storing(name, () => accessOf(this.#fs, join(this.place, keyFileName(name))));
      await this.#storing(name, () => writeNew(this.#fs, temporary, wrapped, access));
    } finally {
      await this.#discard(temporary);
    }
  }

  async removeAbandoned(temporaries: readonly string[]): Promise<void> {
    for (const file of temporaries) {
      const path = join(this.place, file);
      const age = await this.#fs.stat(path).then(
        (found) => this.#clock.wallMs() - found.mtimeMs,
        () => 0,
      );
      if (age > ABANDONED_AFTER_MS) await this.#discard(path);
    }
  }

  /**
   * As `KeyStore.sync`: files that another process linked may not be durable yet. Concurrent calls share the next sync,
   * not the current one, which may have missed their names.
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

  async claimForRewrap(holder: ClaimHolder, tell: (line: string) => void): Promise<RewrapClaim> {
    const disk = { fileSystem: this.#fs, clock: this.#clock, random: this.#random };
    return await RewrapLock.take(this.place, holder, disk, tell);
  }

  async #syncNow(): Promise<void> {
    try {
      await syncDirectory(this.#fs, this.place);
    } catch (cause) {
      throw storeUnavailable(this.place, 'sync', cause, this.named);
    }
  }

  /**
   * The link of the key file creates the version: the process that makes it owns the version, and stores its sidecar.
   */
  async #publish(name: KeyName, temporary: string): Promise<void> {
    try {
      await this.#fs.link(temporary, join(this.place, keyFileName(name)));
    } catch (cause) {
      if (systemErrorCode(cause) === 'EEXIST') {
        throw new KeyError('KEY_EXISTS', `${describeKey(name)}: ${keyFileName(name)} was made by another process`, {
          cause,
        });
      }
      throw storeUnavailable(this.place, `create ${keyFileName(name)} in`, cause, this.named);
    }
    await this.sync();
  }

  /** The sidecar follows the durable key: a sidecar without its key would indicate a lost key. */
  async #publishSidecar(name: KeyName, temporarySidecar: string): Promise<void> {
    await this.#storing(name, () => this.#fs.rename(temporarySidecar, join(this.place, sidecarFileName(name))));
    await this.sync();
  }

  async #storing<T>(name: KeyName, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (cause) {
      throw storeUnavailable(this.place, `store ${describeKey(name)} in`, cause, this.named);
    }
  }

  async #discard(path: string): Promise<void> {
    await this.#fs.unlink(path).catch(() => undefined);
  }
}

function listingOf(files: readonly string[], retired: readonly KeyName[]): Listing {
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
  const isAway = retired.filter((name) => !keyFiles.has(keyFileName(name)));
  const known = new Set([...keyFiles, ...isAway.map(keyFileName)]);
  const lost = sidecars.filter(([file]) => !known.has(file.slice(0, -SIDECAR_SUFFIX.length)));
  return {
    stored: stored.sort(compareKeyNames),
    lost: lost.map(([, name]) => name).sort(compareKeyNames),
    retired: [...isAway].sort(compareKeyNames),
    strays: strays.sort(),
    temporaries,
    isSidecarComing: temporaries.some((file) => file.endsWith(SIDECAR_SUFFIX)),
  };
}
