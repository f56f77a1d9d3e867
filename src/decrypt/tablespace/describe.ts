/** Texts and JSON of a tablespace that was read. */
import { PROOFS } from '../../format/innodb/page-proof.ts';
import type { FailureReason, PageFailure, VersionResult } from './result.ts';
import { decryptedPages, unprovenPages } from './result.ts';
import type { TablespaceResult } from './tablespace.ts';

const REASONS: Readonly<Record<FailureReason, string>> = {
  'no key': 'its key version cannot be had',
  'wrong key': 'it is whole, and with this key it becomes no page of this tablespace',
  undecided: 'nothing shows whether it is encrypted with AES_CBC or AES_CTR, because its compression is not read here',
  contents: 'it does not decompress: it is damaged, or encrypted with another key',
  strange: 'its header is that of no page here',
  number: 'its header names another page',
  tablespace: 'its header names another tablespace',
  checksum: 'its checksum is wrong',
  end: 'a write of it was cut',
  length: 'its length is impossible',
};

export function describeReason(reason: FailureReason): string {
  return REASONS[reason];
}

/** Names of page types; others are told by their number. */
const TYPES: ReadonlyMap<number, string> = new Map([
  [0, 'allocated'],
  [2, 'undo log'],
  [3, 'index of file segments'],
  [4, 'change buffer free list'],
  [5, 'change buffer bitmap'],
  [6, 'system'],
  [7, 'transaction system'],
  [8, 'tablespace header'],
  [9, 'extent descriptors'],
  [10, 'BLOB'],
  [11, 'compressed BLOB'],
  [12, 'compressed BLOB, continued'],
  [17_854, 'spatial index'],
  [17_855, 'index'],
  [17_856, 'instant ALTER'],
  [34_354, 'page-compressed'],
  [37_401, 'page-compressed and encrypted'],
]);

export function describeType(type: number): string {
  const name = type & 0x8000 && type !== 34_354 && type !== 37_401 ? 'page-compressed' : TYPES.get(type);
  return name === undefined ? `type ${type}` : `type ${type}, ${name}`;
}

export function describePageFailure({ page, version, lsn, type, reason }: PageFailure): string {
  const key = version === undefined ? '' : `key version ${version}, `;
  return `page ${page} (${key}LSN ${lsn}, ${describeType(type)}): ${REASONS[reason]}`;
}

/** Tells of the pages that are right: `504 pages decrypted (key 7 version 1: 504, AES_CBC), 1 in clear, 263 empty`. */
export function describePages(result: TablespaceResult): string {
  const { keyId, versions, clear, empty } = result;
  const each = [...versions]
    .filter(([, { algorithm }]) => algorithm !== undefined)
    .sort(([a], [b]) => a - b)
    .map(([version, counts]) => `version ${version}: ${sumOf(counts)}, ${counts.algorithm ?? ''}`);
  const key = each.length === 0 ? '' : ` (key ${keyId ?? ''} ${each.join('; ')})`;
  const decrypted = decryptedPages(result);
  return `${decrypted} ${decrypted === 1 ? 'page' : 'pages'} decrypted${key}, ${clear} in clear, ${empty} empty`;
}

/** Tells how the decrypted pages were proved to be right; empty where none was decrypted. */
export function describeProofs(result: TablespaceResult): string {
  const totals = totalProofs(result);
  const texts = {
    checksum: 'by their own checksum',
    fields: 'by tablespace and LSN in them',
    inflated: 'by decompressing them',
    unproven: 'by nothing: their compression is not read here',
  };
  return PROOFS.filter((proof) => totals[proof] > 0)
    .map((proof) => `${totals[proof]} ${texts[proof]}`)
    .join(', ');
}

export function totalProofs({ versions }: Pick<TablespaceResult, 'versions'>): VersionResult['proofs'] {
  const totals = { checksum: 0, fields: 0, inflated: 0, unproven: 0 };
  for (const { proofs } of versions.values()) for (const proof of PROOFS) totals[proof] += proofs[proof];
  return totals;
}

export function tablespaceJson(result: TablespaceResult): object {
  const { path, bytes, rest, missing, keyId, pages, empty, clear, copies } = result;
  const { failed, failedFree, failures, versions } = result;
  return {
    file: path,
    ok: isRight(result),
    bytes,
    keyId,
    pages,
    empty,
    clear,
    doublewriteCopies: copies,
    failed,
    failedFree,
    unproven: unprovenPages(result),
    missingPages: missing,
    bytesAfterLastPage: rest,
    versions: [...versions]
      .sort(([a], [b]) => a - b)
      .map(([version, counts]) => ({ version, decrypted: sumOf(counts), ...counts })),
    failures,
  };
}

/** Tells whether the file has all its pages, and every page in use is in clear or decrypted. */
export function isRight({ failed, rest, missing }: TablespaceResult): boolean {
  return failed === 0 && rest === 0 && missing === 0;
}

type End = Pick<TablespaceResult, 'spaceId' | 'pages' | 'missing' | 'rest'>;

/** Tells where a file ends that has not all pages, or bytes after them; undefined: it ends where it should. */
export function describeEnd({ spaceId, pages, missing, rest }: End): string | undefined {
  const part = rest === 0 ? '' : `, with ${rest} bytes that are no whole page`;
  const why = spaceId === 0 ? 'it was cut, or the system tablespace has a further file' : 'it was cut';
  if (missing > 0) return `it ends before page ${pages} of ${pages + missing}${part}: ${why}`;
  return rest === 0 ? undefined : `its last ${rest} bytes are no whole page: it was cut`;
}

function sumOf({ proofs }: VersionResult): number {
  return PROOFS.reduce((sum, proof) => sum + proofs[proof], 0);
}
