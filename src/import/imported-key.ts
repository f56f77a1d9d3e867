import { wipe } from '../bytes.ts';
import type { DataKeys } from '../decrypt/data-keys.ts';
import { ENCRYPTION_ALGORITHMS, type EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import type { DataKey } from '../format/encryption-scheme.ts';
import type { KeyId, KeyVersion } from '../ids.ts';

/** A data key of another key management. */
export interface ForeignKey {
  readonly id: KeyId;
  readonly version: KeyVersion;
  /** 16, 24 or 32 bytes. */
  readonly bytes: Buffer;
}

/** The keys to import, for reading the data that is encrypted with them. */
export class ForeignKeys implements DataKeys {
  readonly place: string;
  readonly keys: readonly ForeignKey[];
  readonly #algorithms: readonly EncryptionAlgorithm[];
  readonly #byName: ReadonlyMap<string, ForeignKey>;

  /**
   * @param place the source's name in messages, such as `the key file /etc/mysql/keys.txt`
   * @param algorithm undefined: the data shows it
   */
  constructor(place: string, keys: readonly ForeignKey[], algorithm: EncryptionAlgorithm | undefined) {
    this.place = place;
    this.keys = keys;
    this.#algorithms = algorithm === undefined ? ENCRYPTION_ALGORITHMS : [algorithm];
    this.#byName = new Map(keys.map((key) => [`${key.id}.${key.version}`, key]));
  }

  candidates(id: KeyId, version: KeyVersion): Promise<readonly DataKey[]> {
    const found = this.#byName.get(`${id}.${version}`);
    const keys = found === undefined ? [] : this.#algorithms.map((algorithm) => ({ bytes: found.bytes, algorithm }));
    return Promise.resolve(keys);
  }

  wipe(): void {
    for (const { bytes } of this.keys) wipe(bytes);
  }
}
