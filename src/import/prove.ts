/** The proof, on the data of a server, that the keys at hand are those of this data. */
import type { VerifiedData, VerifiedFile } from '../decrypt/verify-data.ts';
import { KeyError } from '../errors.ts';
import type { EncryptionAlgorithm } from '../format/encryption-algorithm.ts';

/** The data of one key version that was decrypted. */
export interface ProvenUse {
  readonly keyId: number;
  readonly version: number;
  /** Encrypted pages and events that decrypt; 0: only a redo log has it, whose records are not decrypted. */
  readonly decrypted: number;
  readonly files: number;
}

export interface Proof {
  readonly uses: readonly ProvenUse[];
  /** The algorithm that the data shows; undefined: nothing shows it. */
  readonly algorithm: EncryptionAlgorithm | undefined;
  /** Files that were not read, or that show nothing. */
  readonly incomplete: readonly string[];
}

export type HasKey = (keyId: number, version: number) => boolean;

const NAMED_FILES = 3;

/**
 * Judges what `verifyData` found.
 * @param place the source of the keys, for messages
 * @param has tells whether the source has that version
 * @throws KeyError KEY_UNKNOWN for data under a version that the source has not, DATA_UNREADABLE for data that its keys do
 * not open, and for data under both algorithms
 */
export function proofIn({ files, unseen }: VerifiedData, place: string, has: HasKey): Proof {
  refuseMissing(files, place, has);
  refuseUnopened(files, place);
  const shown = shownVersions(files);
  const isUnproven = ({ unproven, versions }: VerifiedFile): boolean =>
    unproven > 0 && !versions.every(({ keyId, version }) => shown.has(`${keyId}.${version}`));
  return {
    uses: usesOf(files),
    algorithm: algorithmIn(files),
    incomplete: [
      ...unseen.map(({ path, reason }) => `${path}: ${reason}`),
      ...(files.length === 0 ? ['no data file was found'] : []),
      ...files.filter(isUnproven).map(unprovenText),
    ],
  };
}

/** A version that opens nothing counts as missing where it was verified, whether the source has it or not. */
function refuseMissing(files: readonly VerifiedFile[], place: string, has: HasKey): void {
  const needing = new Map<string, string[]>();
  for (const { file, missing } of files)
    for (const { keyId, version } of missing) {
      if (has(keyId, version)) continue;
      const name = `key ${keyId} version ${version}`;
      needing.set(name, [...(needing.get(name) ?? []), file]);
    }
  const [first, ...others] = needing;
  if (first === undefined) return;
  const more = others.map(([name]) => name);
  const also = more.length === 0 ? '' : `; nor ${more.slice(0, NAMED_FILES).join(', ')}${andMore(more, 'version')}`;
  throw new KeyError('KEY_UNKNOWN', `${first[0]} is not in ${place}, and ${listed(first[1])} needs it${also}`, {
    hint: 'this data is under keys of more than one source, or some of its keys are lost: a server with these keys alone would not read it. Find the other source: an older key file, or the key directory of another key management plugin. A table whose key is lost has to come from a backup',
  });
}

function refuseUnopened(files: readonly VerifiedFile[], place: string): void {
  const failed = files.filter((file) => file.failed > 0);
  const [first] = failed;
  if (first === undefined) return;
  const [reason = 'it does not decrypt'] = first.failures;
  const others = failed.length === 1 ? '' : `; likewise ${listed(failed.slice(1).map(({ file }) => file))}`;
  throw new KeyError('DATA_UNREADABLE', `${first.file} does not open with ${place}: ${reason}${others}`, {
    hint: 'look at every file with verify-data. If this is the key file of another server, name the right one; if the server encrypts in another mode, name it by --algorithm',
  });
}

function usesOf(files: readonly VerifiedFile[]): readonly ProvenUse[] {
  const sums = new Map<string, { keyId: number; version: number; decrypted: number; files: number }>();
  for (const { versions } of files)
    for (const { keyId, version, decrypted } of versions) {
      const name = `${keyId}.${version}`;
      const sum = sums.get(name) ?? { keyId, version, decrypted: 0, files: 0 };
      sum.decrypted += decrypted ?? 0;
      sum.files += 1;
      sums.set(name, sum);
    }
  return [...sums.values()].sort((a, b) => a.keyId - b.keyId || a.version - b.version);
}

/** The mode of file_key_management is one for all keys, and nothing on disk names it. */
function algorithmIn(files: readonly VerifiedFile[]): EncryptionAlgorithm | undefined {
  const found = new Map<EncryptionAlgorithm, string[]>();
  for (const { file, versions } of files)
    for (const { algorithm } of versions)
      if (algorithm !== undefined) found.set(algorithm, [...(found.get(algorithm) ?? []), file]);
  const [one, other] = found;
  if (one !== undefined && other !== undefined) {
    const text = `${listed(one[1])} is encrypted with ${one[0]}, and ${listed(other[1])} with ${other[0]}: no server reads both`;
    throw new KeyError('DATA_UNREADABLE', text, {
      hint: 'the mode of the server was changed while it had encrypted data: start it with the mode of most tables, and bring the others from a backup',
    });
  }
  return one?.[0];
}

/** Versions of which a file shows that their key is right. */
function shownVersions(files: readonly VerifiedFile[]): ReadonlySet<string> {
  const shown = files.filter(({ unproven, proofs }) => unproven === 0 && proofs.key === undefined);
  return new Set(shown.flatMap(({ versions }) => versions.map(({ keyId, version }) => `${keyId}.${version}`)));
}

function unprovenText({ file, unproven }: VerifiedFile): string {
  return `${file}: nothing shows that its ${unproven} encrypted pages open with this key: their compression is not read here`;
}

function listed(files: readonly string[]): string {
  return `${files.slice(0, NAMED_FILES).join(', ')}${andMore(files, 'file')}`;
}

function andMore({ length }: readonly string[], noun: string): string {
  const more = length - NAMED_FILES;
  return more > 0 ? ` and ${more} more ${noun}${more === 1 ? '' : 's'}` : '';
}
