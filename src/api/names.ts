/** A version of a data key. */
export interface KeyName {
  /** MariaDB's ENCRYPTION_KEY_ID, an integer from 1 to 4294967295. */
  readonly keyId: number;
  /** An integer from 1 to 4294967294. */
  readonly keyVersion: number;
}

/** The pairs that KMS authenticates with a wrapped key. They are no secrets: CloudTrail shows them. */
export type EncryptionContext = Readonly<Record<string, string>>;

/** KMS's KeySpec of a data key: 16 or 32 bytes. */
export type KeySpec = 'AES_128' | 'AES_256';

/** The algorithm of MariaDB's pages and logs under a key version. */
export type EncryptionAlgorithm = 'AES_CBC' | 'AES_CTR';
