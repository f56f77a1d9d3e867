import { hash } from 'node:crypto';
import { join } from 'node:path';
import type { FileSystem } from '../disk/file-system.ts';
import { readWhole, sha256 } from '../disk/files.ts';
import type { ReadAhead } from '../disk/read-ahead.ts';
import { KeyError, systemErrorCode, toKeyError } from '../errors.ts';
import { describeKey, type KeyName, keyFileName, SIDECAR_SUFFIX, sidecarFileName } from '../format/key-file-name.ts';
import { MAX_SIDECAR_BYTES, parseSidecar, sidecarOfBytes } from '../format/sidecar.ts';
import { MAX_WRAPPED_KEY_BYTES } from '../format/wrapped-key.ts';
import { nextTurn } from '../next-turn.ts';
import { type Named, otherBytes, unreadable } from './failures.ts';
import type { StoredKey } from './store.ts';

/** Keys from which a thread pays: starting it takes as long as reading some hundred files. */
const WORTH_A_THREAD = 1_000;
const READ_AHEAD_KEYS = 1_024;
/** Files to read before yielding to the event loop, which takes a few milliseconds. */
const DIGESTS_AT_ONCE = 128;

/** Reads the key files and sidecars of a directory, thousands of them at a start: another thread reads ahead. */
export class KeyFileReader {
  readonly #directory: string;
  readonly #fs: FileSystem;
  readonly #named: Named;
  /** One byte more than a wrapped key may have. */
  readonly #page = Buffer.alloc(MAX_WRAPPED_KEY_BYTES + 1);
  #ahead: ReadAhead | undefined;

  constructor(directory: string, fs: FileSystem, named: Named) {
    this.#directory = directory;
    this.#fs = fs;
    this.#named = named;
  }

  /** As `KeyStore.readAhead`. */
  readAhead(names: readonly KeyName[]): () => void {
    return this.#startThread(names, ['', SIDECAR_SUFFIX], READ_AHEAD_KEYS);
  }

  /**
   * As `KeyStore.read`: returns a consistent pair, even while `replace` changes first the sidecar and then the key
   * file.
   */
  async read(name: KeyName): Promise<StoredKey> {
    const stored = await this.readToUnwrap(name);
    if (stored.mismatch !== undefined) throw stored.mismatch;
    return stored;
  }

  /** As `KeyStore.readToUnwrap`. */
  async readToUnwrap(name: KeyName): Promise<StoredKey> {
    const file = keyFileName(name);
    // Both are taken at once: a sidecar read earlier may no longer belong to a key file read later.
    const ahead = this.#ahead?.take(file);
    const [key, text] = (ahead instanceof Promise ? await ahead : ahead) ?? [];
    const wrapped = key ?? (await this.#readFile(name, file, MAX_WRAPPED_KEY_BYTES));
    if (wrapped === undefined) {
      throw new KeyError('KEY_UNKNOWN', `${describeKey(name)}: there is no file ${file} in ${this.#directory}`, {
        hint: 'restore the file from a backup of the key directory',
      });
    }
    if (wrapped.length === 0) {
      throw corrupt(name, file, `expected 1 to ${MAX_WRAPPED_KEY_BYTES} bytes, got 0`);
    }
    const found = await this.#readSidecar(name, key === undefined ? undefined : text);
    if (found.sidecar === undefined) return { wrapped, ...found };
    // Checks that the wrapped key is the one that the sidecar describes.
    const sum = sha256(wrapped);
    const fitting = sidecarOfBytes(found.sidecar, sum);
    if (fitting === undefined) return { wrapped, ...found, mismatch: otherBytes(name, sum, found.sidecar) };
    return { wrapped, ...found, sidecar: fitting };
  }

  /** As `KeyStore.digest`. */
  async digest(names: readonly KeyName[], look: (index: number, sha256: Buffer | undefined) => void): Promise<void> {
    // This thread starts with the first file, the other thread in the middle.
    const rest = names.slice(names.length / 2);
    const endReading = this.#startThread(rest, [''], rest.length);
    try {
      for (const [index, name] of names.entries()) {
        if (index % DIGESTS_AT_ONCE === 0) await nextTurn();
        const ahead = this.#ahead?.take(keyFileName(name));
        const [bytes] = (ahead instanceof Promise ? await ahead : ahead) ?? [];
        look(index, this.#digestOf(name, bytes));
      }
    } finally {
      endReading();
    }
  }

  /** @param window the most keys that may wait to be taken */
  #startThread(names: readonly KeyName[], endings: readonly string[], window: number): () => void {
    if (names.length < WORTH_A_THREAD) return () => undefined;
    const entries = names.map(keyFileName);
    const request = { directory: this.#directory, entries, endings, maxBytes: MAX_WRAPPED_KEY_BYTES, window };
    const ahead = this.#fs.startReadAhead?.(request);
    this.#ahead = ahead;
    return () => {
      ahead?.close();
      if (this.#ahead === ahead) this.#ahead = undefined;
    };
  }

  #digestOf(name: KeyName, ahead: Buffer | undefined): Buffer | undefined {
    if (ahead !== undefined && ahead.length > 0) return hash('sha256', ahead, 'buffer');
    let length: number;
    try {
      length = this.#fs.readNow(`${this.#directory}/${keyFileName(name)}`, this.#page);
    } catch {
      return undefined;
    }
    if (length === 0 || length > MAX_WRAPPED_KEY_BYTES) return undefined;
    return hash('sha256', this.#page.subarray(0, length), 'buffer');
  }

  /** @param ahead the sidecar's text, if it has been read */
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
      // A damaged sidecar proves nothing. One of another key means that the key file may be another's as well.
      if (error.code === 'KEY_FILE_SWAPPED') throw error;
      return { sidecar: undefined, sidecarProblem: error, sidecarText };
    }
  }

  /** Returns undefined only when there is no such file. */
  async #readFile(name: KeyName, file: string, maxBytes: number): Promise<Buffer | undefined> {
    try {
      return await readWhole(this.#fs, join(this.#directory, file), maxBytes);
    } catch (cause) {
      if (systemErrorCode(cause) === 'ENOENT') return undefined;
      if (cause instanceof KeyError) throw corrupt(name, file, cause.message);
      throw await unreadable(this.#directory, name, file, cause, this.#named, this.#fs);
    }
  }
}

function corrupt(name: KeyName, file: string, reason: string): KeyError {
  const kind = file === sidecarFileName(name) ? 'sidecar' : 'key file';
  const hint = 'restore the file from a backup';
  return new KeyError('KEY_FILE_CORRUPT', `${describeKey(name)}: ${kind} ${file}: ${reason}`, { hint });
}
