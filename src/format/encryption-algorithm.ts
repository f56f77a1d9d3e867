/** What a key version encrypts with, by its number on the wire minus one. */
export const ENCRYPTION_ALGORITHMS = ['AES_CBC', 'AES_CTR'] as const;
export type EncryptionAlgorithm = (typeof ENCRYPTION_ALGORITHMS)[number];
