/** Plaintext data keys for reading encrypted files without a server. */
import type { DataKey } from '../format/encryption-scheme.ts';
import type { KeyId, KeyVersion } from '../ids.ts';

export interface DataKeys {
  /** The source's name in messages, such as `the key directory /etc/mysql/keys`. */
  readonly place: string;
  /**
   * Returns one key if the source knows the algorithm, CBC and CTR if nothing tells it, and none if the source has no such
   * version. Concurrent and later calls share one result, whose bytes the caller does not own.
   * @throws KeyError if the version exists and cannot be had; it names the key, the reason and a hint
   */
  candidates(id: KeyId, version: KeyVersion): Promise<readonly DataKey[]>;
  /** Overwrites all keys; the source cannot be used afterwards. */
  wipe(): void;
}
