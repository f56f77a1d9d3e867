/** The result of reading a tablespace's pages. Plain values, which threads can pass to each other. */
import type { EncryptionAlgorithm } from '../../format/encryption-algorithm.ts';
import { PROOFS, type Proof } from '../../format/innodb/page-proof.ts';

/**
 * `no key`: the version cannot be had. `wrong key`: the page is whole, and decrypts to no page. `undecided`: AES_CBC and
 * AES_CTR are possible, and nothing shows which is right. `contents`: a compressed page without a checksum does not
 * decompress. `strange`: the header is none of this page. The others are damage of the page as it is in the file.
 */
export type FailureReason =
  | 'no key'
  | 'wrong key'
  | 'undecided'
  | 'contents'
  | 'strange'
  | 'number'
  | 'tablespace'
  | 'checksum'
  | 'end'
  | 'length';

export interface PageFailure {
  readonly page: number;
  /** Undefined: the page is in clear, or its header is none. */
  readonly version: number | undefined;
  /** Decimal. */
  readonly lsn: string;
  readonly type: number;
  readonly reason: FailureReason;
}

export interface VersionResult {
  /** Pages that were decrypted, by what shows that they are right. */
  readonly proofs: Record<Proof, number>;
  /** Undefined: no page was decrypted. */
  algorithm: EncryptionAlgorithm | undefined;
  /** Pages in use that were not decrypted. */
  failed: number;
  /** Free pages that were not decrypted. They hold nothing. */
  failedFree: number;
}

export interface PagesResult {
  pages: number;
  /** Pages that were never written. */
  empty: number;
  /** Pages in clear. */
  clear: number;
  /** Copies of pages, also of other tablespaces, in the doublewrite area. */
  copies: number;
  readonly versions: Map<number, VersionResult>;
  /** Pages in use that are not right. */
  failed: number;
  /** Those among them that are whole, and that the key at hand does not decrypt. */
  wrongKey: number;
  /** The first of the pages that are not right. */
  readonly failures: PageFailure[];
  /** Free pages that are not right. */
  failedFree: number;
  /** Why the first of them is not. */
  freeReason: FailureReason | undefined;
}

/** The most failures that are kept of a file. */
export const MOST_FAILURES = 20;

export function emptyResult(): PagesResult {
  return {
    pages: 0,
    empty: 0,
    clear: 0,
    copies: 0,
    versions: new Map(),
    failed: 0,
    wrongKey: 0,
    failures: [],
    failedFree: 0,
    freeReason: undefined,
  };
}

export function versionOf(result: PagesResult, version: number): VersionResult {
  const known = result.versions.get(version);
  if (known !== undefined) return known;
  const proofs = { checksum: 0, fields: 0, inflated: 0, unproven: 0 };
  const added = { proofs, algorithm: undefined, failed: 0, failedFree: 0 };
  result.versions.set(version, added);
  return added;
}

/** Adds the result of further pages. */
export function addResult(to: PagesResult, more: PagesResult): void {
  for (const count of ['pages', 'empty', 'clear', 'copies', 'failed', 'wrongKey', 'failedFree'] as const)
    to[count] += more[count];
  to.freeReason ??= more.freeReason;
  to.failures.push(...more.failures);
  to.failures.sort((a, b) => a.page - b.page).splice(MOST_FAILURES);
  for (const [version, { proofs, algorithm, failed, failedFree }] of more.versions) {
    const sum = versionOf(to, version);
    for (const proof of PROOFS) sum.proofs[proof] += proofs[proof];
    sum.algorithm ??= algorithm;
    sum.failed += failed;
    sum.failedFree += failedFree;
  }
}

/** Returns the pages of key versions of which no page shows that its key is right. */
export function unprovenPages({ versions }: Pick<PagesResult, 'versions'>): number {
  let pages = 0;
  for (const { proofs } of versions.values())
    if (proofs.checksum + proofs.fields + proofs.inflated === 0) pages += proofs.unproven;
  return pages;
}

/** Returns the pages that were decrypted. */
export function decryptedPages({ versions }: PagesResult): number {
  let pages = 0;
  for (const { proofs } of versions.values()) for (const proof of PROOFS) pages += proofs[proof];
  return pages;
}
