import { wipe } from '../bytes.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { ENCRYPTION_ALGORITHMS, type EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import type { DataKey } from '../format/encryption-scheme.ts';
import {
  decryptKeyFile,
  type FileKey,
  isEncryptedKeyFile,
  MAX_KEY_FILE_BYTES,
  MAX_PASSPHRASE_BYTES,
  PASSPHRASE_USE,
  type PassphraseUse,
  parseKeyFile,
  passphraseOf,
} from '../format/file-key-management.ts';
import type { KeyId, KeyVersion } from '../ids.ts';
import type { DataKeys } from './data-keys.ts';

/** CR and LF may follow a passphrase. */
const MAX_PASSPHRASE_FILE = MAX_PASSPHRASE_BYTES + 1_024;
const FILE_PREFIX = 'FILE:';

/** Reads a file of a limited size. @throws the system's errors as they come */
export type ReadFile = (path: string, most: number) => Promise<Buffer>;

/** The passphrase of a key file: the path of its file, also as `FILE:PATH`, or the passphrase of an option file. */
export type Passphrase = { readonly file: string } | { readonly text: string };

/** The keys of file_key_management. Nothing on disk tells whether the server encrypts with CBC or CTR. */
export class KeyFileKeys implements DataKeys {
  readonly place: string;
  /** Lines that the server reads otherwise than they look. */
  readonly warnings: readonly string[];
  /** Not to be changed: `wipe()` overwrites their bytes. */
  readonly keys: readonly FileKey[];
  readonly #algorithms: readonly EncryptionAlgorithm[];

  private constructor(
    path: string,
    keys: readonly FileKey[],
    algorithms: readonly EncryptionAlgorithm[],
    warnings: readonly string[],
  ) {
    this.#algorithms = algorithms;
    this.place = `the key file ${path}`;
    this.warnings = warnings;
    this.keys = keys;
  }

  /**
   * @param passphrase undefined: the key file is in clear
   * @param algorithms those that the data may be encrypted with
   * @throws KeyError KEY_FILE_UNREADABLE, KEY_FILE_CORRUPT, BAD_OPTION
   */
  static async read(
    path: string,
    passphrase: Passphrase | undefined,
    readFile: ReadFile,
    algorithms: readonly EncryptionAlgorithm[] = ENCRYPTION_ALGORITHMS,
    use: PassphraseUse = PASSPHRASE_USE,
  ): Promise<KeyFileKeys> {
    const bytes = await readFile(path, MAX_KEY_FILE_BYTES).catch((cause: unknown) => {
      throw unreadable(`--key-file: cannot read ${path}`, cause, 'file_key_management_filename names it');
    });
    try {
      const clear = await inClear(bytes, passphrase, use, readFile);
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
    const found = this.keys.find((key) => key.id === id && key.version === version);
    return Promise.resolve(
      found === undefined ? [] : this.#algorithms.map((algorithm) => ({ bytes: found.bytes, algorithm })),
    );
  }

  wipe(): void {
    for (const { bytes } of this.keys) wipe(bytes);
  }
}

async function inClear(
  bytes: Buffer,
  passphrase: Passphrase | undefined,
  use: PassphraseUse,
  readFile: ReadFile,
): Promise<Buffer> {
  if (passphrase === undefined) {
    if (!isEncryptedKeyFile(bytes)) return bytes;
    throw new KeyError('BAD_OPTION', 'the key file is encrypted with a passphrase', {
      hint: 'add --filekey FILE: the file that file_key_management_filekey=FILE:… names',
    });
  }
  if (!isEncryptedKeyFile(bytes))
    throw new KeyError('BAD_OPTION', '--filekey: the key file is not encrypted', {
      hint: 'leave out --filekey; the server refuses a passphrase here, too',
    });
  const text = 'text' in passphrase ? Buffer.from(passphrase.text) : await passphraseFile(passphrase.file, readFile);
  try {
    return decryptKeyFile(bytes, passphraseOf(text), use);
  } finally {
    wipe(text);
  }
}

async function passphraseFile(file: string, readFile: ReadFile): Promise<Buffer> {
  const path = file.startsWith(FILE_PREFIX) ? file.slice(FILE_PREFIX.length) : file;
  // The path is not repeated: it may be a passphrase given by mistake.
  return await readFile(path, MAX_PASSPHRASE_FILE).catch((cause: unknown) => {
    throw unreadable('--filekey: cannot read the file that it names', cause, 'it takes a file, and no passphrase');
  });
}

function unreadable(text: string, cause: unknown, hint: string): KeyError {
  return new KeyError('KEY_FILE_UNREADABLE', `${text}: ${systemErrorCode(cause) ?? 'it is no file'}`, { hint });
}
