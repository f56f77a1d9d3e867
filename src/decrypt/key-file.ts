import { wipe } from '../bytes.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { ENCRYPTION_ALGORITHMS, type EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import type { DataKey } from '../format/encryption-scheme.ts';
import {
  decryptKeyFile,
  isEncryptedKeyFile,
  MAX_KEY_FILE_BYTES,
  MAX_PASSPHRASE_BYTES,
  parseKeyFile,
  passphraseOf,
} from '../format/file-key-management.ts';
import type { KeyId, KeyVersion } from '../ids.ts';
import type { DataKeys } from './data-keys.ts';

/** The only version that file_key_management has of a key. */
const ONLY_VERSION = 1;
/** CR and LF may follow a passphrase. */
const MAX_PASSPHRASE_FILE = MAX_PASSPHRASE_BYTES + 1_024;
const FILE_PREFIX = 'FILE:';

/** Reads a file of a limited size. @throws the system's errors as they come */
export type ReadFile = (path: string, most: number) => Promise<Buffer>;

/** The keys of file_key_management. Nothing on disk tells whether the server encrypts with CBC or CTR. */
export class KeyFileKeys implements DataKeys {
  readonly place: string;
  /** Lines that the server reads otherwise than they look. */
  readonly warnings: readonly string[];
  readonly #keys: ReadonlyMap<KeyId, Buffer>;
  readonly #algorithms: readonly EncryptionAlgorithm[];

  private constructor(
    path: string,
    keys: ReadonlyMap<KeyId, Buffer>,
    algorithms: readonly EncryptionAlgorithm[],
    warnings: readonly string[],
  ) {
    this.#algorithms = algorithms;
    this.place = `the key file ${path}`;
    this.warnings = warnings;
    this.#keys = keys;
  }

  /**
   * @param passphraseFile the file of the passphrase, also as `FILE:PATH`
   * @param algorithms those that the data may be encrypted with
   * @throws KeyError KEY_FILE_UNREADABLE, KEY_FILE_CORRUPT, BAD_OPTION
   */
  static async read(
    path: string,
    passphraseFile: string | undefined,
    readFile: ReadFile,
    algorithms: readonly EncryptionAlgorithm[] = ENCRYPTION_ALGORITHMS,
  ): Promise<KeyFileKeys> {
    const bytes = await readFile(path, MAX_KEY_FILE_BYTES).catch((cause: unknown) => {
      throw unreadable(`--key-file: cannot read ${path}`, cause, 'file_key_management_filename names it');
    });
    try {
      const clear = await inClear(bytes, passphraseFile, readFile);
      try {
        const { keys, warnings } = parseKeyFile(clear);
        return new KeyFileKeys(path, keys, algorithms, warnings);
      } finally {
        wipe(clear);
      }
    } finally {
      wipe(bytes);
    }
  }

  candidates(id: KeyId, version: KeyVersion): Promise<readonly DataKey[]> {
    const bytes = version === ONLY_VERSION ? this.#keys.get(id) : undefined;
    return Promise.resolve(bytes === undefined ? [] : this.#algorithms.map((algorithm) => ({ bytes, algorithm })));
  }

  wipe(): void {
    for (const bytes of this.#keys.values()) wipe(bytes);
  }
}

async function inClear(bytes: Buffer, passphraseFile: string | undefined, readFile: ReadFile): Promise<Buffer> {
  if (passphraseFile === undefined) {
    if (!isEncryptedKeyFile(bytes)) return bytes;
    throw new KeyError('BAD_OPTION', 'the key file is encrypted with a passphrase', {
      hint: 'add --filekey FILE: the file that file_key_management_filekey=FILE:… names',
    });
  }
  if (!isEncryptedKeyFile(bytes))
    throw new KeyError('BAD_OPTION', '--filekey: the key file is not encrypted', {
      hint: 'leave out --filekey; the server refuses a passphrase here, too',
    });
  const path = passphraseFile.startsWith(FILE_PREFIX) ? passphraseFile.slice(FILE_PREFIX.length) : passphraseFile;
  // The path is not repeated: it may be a passphrase given by mistake.
  const file = await readFile(path, MAX_PASSPHRASE_FILE).catch((cause: unknown) => {
    throw unreadable('--filekey: cannot read the file that it names', cause, 'it takes a file, and no passphrase');
  });
  try {
    return decryptKeyFile(bytes, passphraseOf(file));
  } finally {
    wipe(file);
  }
}

function unreadable(text: string, cause: unknown, hint: string): KeyError {
  return new KeyError('KEY_FILE_UNREADABLE', `${text}: ${systemErrorCode(cause) ?? 'it is no file'}`, { hint });
}
