/** Encryption algorithms of key versions; the number in the protocol is the index plus one. */
export const ENCRYPTION_ALGORITHMS = ['AES_CBC', 'AES_CTR'] as const;
export type EncryptionAlgorithm = (typeof ENCRYPTION_ALGORITHMS)[number];

/** Counts versions for messages: `12 key versions (3 of AES_CTR)`. */
export function countVersions(
  total: number,
  noun: string,
  algorithms: readonly (EncryptionAlgorithm | undefined)[],
): string {
  const ofCtr = algorithms.filter((algorithm) => algorithm === 'AES_CTR').length;
  return `${total} ${noun}${ofCtr === 0 ? '' : ` (${ofCtr} of AES_CTR)`}`;
}
