/** The proof that a backup or a data directory can be read with the keys at hand. Nothing is written. */
import type { DataFiles } from '../data/data-files.ts';
import type { DataLocations } from '../data/locations.ts';
import { type Opened, type Unseen, Visit } from '../data/visit.ts';
import { foundFiles } from '../data/walk.ts';
import { KeyError, systemErrorCode, toKeyError } from '../errors.ts';
import { ARIA_KEY_ID } from '../format/aria-table.ts';
import { BINARY_LOG_KEY_ID } from '../format/binary-log.ts';
import type { EncryptionAlgorithm } from '../format/encryption-algorithm.ts';
import { PROOFS } from '../format/innodb/page-proof.ts';
import type { KeyName } from '../format/key-file-name.ts';
import { redoLogUse } from '../format/key-use.ts';
import { keyId } from '../ids.ts';
import { verifyAria } from './aria.ts';
import type { DataKeys } from './data-keys.ts';
import { verifyBinaryLog } from './log-file.ts';
import { describeEnd, describePageFailure } from './tablespace/describe.ts';
import type { SystemUntil } from './tablespace/open-space.ts';
import { unprovenPages } from './tablespace/result.ts';
import { systemUntil, type TablespaceParts, verifyTablespace } from './tablespace/tablespace.ts';

/** A place to read: the files of a server or of a copy of its data, or single files. */
export type VerifiedPlace =
  | { readonly locations: DataLocations; readonly more: readonly string[] }
  | { readonly files: readonly string[] };

/** The proof that encrypted data was decrypted with the right key. `key`: the key is there, and nothing was decrypted. */
export type DataProof = (typeof PROOFS)[number] | 'key';

export interface VersionUse {
  readonly keyId: number;
  readonly version: number;
  /**
   * Encrypted pages or events that decrypt. 0: of a redo log, whose key alone is tried. Undefined: of an Aria table with
   * several versions, whose pages are counted together.
   */
  readonly decrypted: number | undefined;
  /** Undefined: nothing was decrypted. */
  readonly algorithm: EncryptionAlgorithm | undefined;
}

export interface VerifiedFile {
  /** Relative when it is in the data directory. */
  readonly file: string;
  readonly kind: Opened['kind'];
  readonly bytes: number;
  readonly versions: readonly VersionUse[];
  readonly proofs: Readonly<Partial<Record<DataProof, number>>>;
  /** Versions that cannot be had, of data in use. */
  readonly missing: readonly { readonly keyId: number; readonly version: number; readonly pages: number }[];
  /** Pages and events that are not right, the first of them. */
  readonly failures: readonly string[];
  readonly failed: number;
  /** Free pages that do not decrypt: nothing is in them. */
  readonly failedFree: number;
  /** Pages of key versions of which no page in the file shows that its key is right. */
  readonly unproven: number;
}

export interface VerifiedData {
  readonly files: readonly VerifiedFile[];
  /** Why versions cannot be had, once for each. */
  readonly keyProblems: readonly KeyError[];
  readonly unseen: readonly Unseen[];
}

export interface VerifyParts extends Omit<TablespaceParts, 'progress'> {
  readonly disk: DataFiles;
  /** Called with all files and bytes that were read until then. */
  readonly progress: (files: number, bytes: number) => void;
}

type Outcome = Omit<VerifiedFile, 'file' | 'kind' | 'bytes'>;

const NOTHING: Outcome = { versions: [], proofs: {}, missing: [], failures: [], failed: 0, failedFree: 0, unproven: 0 };

/** @throws the reason of the signal */
export async function verifyData(places: readonly VerifiedPlace[], parts: VerifyParts): Promise<VerifiedData> {
  const verifier = new Verifier(parts);
  for (const place of places) await verifier.place(place);
  return verifier.result;
}

class Verifier {
  readonly #parts: VerifyParts;
  readonly #files: VerifiedFile[] = [];
  readonly #problems = new Map<string, KeyError>();
  readonly #unseen: Unseen[] = [];
  #bytes = 0;

  constructor(parts: VerifyParts) {
    this.#parts = parts;
  }

  get result(): VerifiedData {
    const files = this.#files.sort((a, b) => (a.file < b.file ? -1 : 1));
    return { files, keyProblems: [...this.#problems.values()], unseen: this.#unseen };
  }

  /** Several files are read at a time, because a small one has work for one thread. */
  async place(place: VerifiedPlace): Promise<void> {
    const visit = new Visit(this.#parts.disk, 'files' in place ? '' : place.locations.datadir);
    const files = openedFiles(visit, place);
    let system: SystemUntil | undefined;
    let lastOfSystem = '';
    const work = async (): Promise<void> => {
      for (const opened of files) {
        this.#parts.signal.throwIfAborted();
        let before: SystemUntil | undefined;
        if (opened.kind === 'system tablespace') {
          before = system;
          system = followed(opened.path, before);
          lastOfSystem = opened.shown;
        }
        await this.#file(opened, before);
      }
    };
    const settled = await Promise.allSettled(Array.from({ length: this.#parts.threads.count }, work));
    for (const each of settled) if (each.status === 'rejected') throw each.reason;
    this.#unseen.push(...visit.unseen);
    if (system !== undefined && system.firstPage < system.spacePages) this.#cut(lastOfSystem, system);
  }

  /** Records that the last file of the system tablespace ends before its pages do. */
  #cut(shown: string, { firstPage, spacePages }: SystemUntil): void {
    const index = this.#files.findIndex(({ file }) => file === shown);
    const found = this.#files[index];
    if (found === undefined) return;
    const end = describeEnd({ spaceId: 0, pages: firstPage, missing: spacePages - firstPage, rest: 0 }) ?? '';
    this.#files[index] = { ...found, failures: [...found.failures, end], failed: found.failed + 1 };
  }

  async #file(opened: Opened, before: SystemUntil | undefined): Promise<void> {
    const { kind, shown, file, data } = opened;
    const bytes = file.bytes + (data?.bytes ?? 0);
    const lacking: KeyName[] = [];
    try {
      const outcome = await this.#verify(opened, before, noting(this.#parts.keys, lacking));
      if (outcome === undefined) opened.miss('its format is not known, or it is damaged at its beginning');
      else this.#files.push({ file: shown, kind, bytes, ...outcome });
    } catch (thrown) {
      if (this.#parts.signal.aborted) throw thrown;
      const code = systemErrorCode(thrown);
      const error = toKeyError(thrown);
      if (code !== undefined && !(thrown instanceof KeyError)) opened.miss(code);
      else if (error.code === 'INTERNAL') throw thrown;
      else if (lacking.length > 0) {
        const missing = [];
        for (const { id, version } of lacking) {
          missing.push({ keyId: id, version, pages: 0 });
          const problem = await this.#problemOf(id, version);
          if (problem !== undefined) this.#problems.set(problem.message, problem);
        }
        this.#files.push({ file: shown, kind, bytes, ...NOTHING, missing, failed: 1 });
      } else {
        const failures = [error.message.replace(`${opened.path}: `, '').replace(`${shown}: `, '')];
        this.#files.push({ file: shown, kind, bytes, ...NOTHING, failures, failed: 1 });
      }
    } finally {
      opened.close();
    }
    this.#advance(0);
  }

  /** @param keys what Aria tables and logs are decrypted with, each of which ends at the first version that is not there */
  async #verify(
    opened: Opened,
    before: SystemUntil | undefined,
    keys: Pick<DataKeys, 'candidates' | 'place'>,
  ): Promise<Outcome | undefined> {
    const { kind, path, shown, file, data } = opened;
    const { signal } = this.#parts;
    switch (kind) {
      case 'redo log':
      case 'archived redo log':
        return await this.#redoLog(opened);
      case 'binary log': {
        const log = await verifyBinaryLog(shown, file, keys, signal);
        this.#advance(file.bytes);
        if (log.version === undefined) return NOTHING;
        const decrypted = log.events - log.damagedEvents;
        return {
          ...NOTHING,
          versions: [{ keyId: BINARY_LOG_KEY_ID, version: log.version, decrypted, algorithm: log.algorithm }],
          proofs: { checksum: decrypted },
          failures: log.damaged.map(({ text }) => text),
          failed: log.damagedEvents,
        };
      }
      case 'Aria table': {
        const table = await verifyAria(shown, { index: file, data }, keys, signal);
        this.#advance(file.bytes + (data?.bytes ?? 0));
        const decrypted = table.pages - table.damagedPages;
        return {
          ...NOTHING,
          versions: table.versions.map((version) => ({
            keyId: ARIA_KEY_ID,
            version,
            decrypted: table.versions.length === 1 ? decrypted : undefined,
            algorithm: table.algorithm,
          })),
          proofs: { checksum: decrypted },
          failures: [...table.cut, ...table.damaged.map(({ text }) => text)],
          failed: table.cut.length + table.damagedPages,
        };
      }
      case 'temporary tablespace':
      case 'temporary Aria table':
      case 'backup file':
        return NOTHING;
      default:
        return await this.#tablespace(path, before, kind === 'system tablespace');
    }
  }

  async #tablespace(path: string, before: SystemUntil | undefined, goesOn: boolean): Promise<Outcome> {
    const parts = { ...this.#parts, progress: (bytes: number) => this.#advance(bytes) };
    const found = await verifyTablespace(path, parts, before);
    for (const problem of found.keyProblems) this.#problems.set(problem.message, problem);
    const id = found.keyId ?? 0;
    const versions = [...found.versions].sort(([a], [b]) => a - b);
    const proofs: Partial<Record<DataProof, number>> = {};
    for (const [, counts] of versions)
      for (const proof of PROOFS)
        if (counts.proofs[proof] > 0) proofs[proof] = (proofs[proof] ?? 0) + counts.proofs[proof];
    const end = describeEnd(goesOn ? { ...found, missing: 0 } : found);
    const ends = end === undefined ? [] : [end];
    return {
      versions: versions
        .map(([version, counts]) => ({
          keyId: id,
          version,
          decrypted: PROOFS.reduce((sum, proof) => sum + counts.proofs[proof], 0),
          algorithm: counts.algorithm,
        }))
        .filter(({ decrypted }) => decrypted > 0),
      proofs,
      missing: versions
        .filter(([, { algorithm, failed }]) => algorithm === undefined && failed > 0)
        .map(([version, { failed }]) => ({ keyId: id, version, pages: failed })),
      failures: [...found.failures.filter(({ reason }) => reason !== 'no key').map(describePageFailure), ...ends],
      failed: found.failed + ends.length,
      failedFree: found.failedFree,
      unproven: unprovenPages(found),
    };
  }

  /** The records of a redo log are not decrypted: that its key can be had is what a start needs. */
  async #redoLog({ file }: Opened): Promise<Outcome | undefined> {
    const use = redoLogUse(file.read);
    this.#advance(file.bytes);
    if (use === undefined || use === 'unknown') return use === undefined ? NOTHING : undefined;
    const versions: VersionUse[] = [];
    const missing: { keyId: number; version: number; pages: number }[] = [];
    for (const version of new Set(use.versions)) {
      const problem = await this.#problemOf(use.id, version);
      if (problem === undefined) versions.push({ keyId: use.id, version, decrypted: 0, algorithm: undefined });
      else {
        this.#problems.set(problem.message, problem);
        missing.push({ keyId: use.id, version, pages: 0 });
      }
    }
    return { ...NOTHING, versions, proofs: { key: versions.length }, missing, failed: missing.length };
  }

  async #problemOf(id: number, version: KeyName['version']): Promise<KeyError | undefined> {
    const { keys } = this.#parts;
    try {
      if ((await keys.candidates(keyId(id), version)).length > 0) return undefined;
      return new KeyError('KEY_UNKNOWN', `key ${id} version ${version} is not in ${keys.place}`);
    } catch (thrown) {
      return toKeyError(thrown);
    }
  }

  #advance(bytes: number): void {
    this.#bytes += bytes;
    this.#parts.progress(this.#files.length, this.#bytes);
  }
}

/** The same keys, which also say what they were asked for in vain. */
function noting(keys: DataKeys, lacking: KeyName[]): Pick<DataKeys, 'candidates' | 'place'> {
  return {
    place: keys.place,
    candidates: async (id, version) => {
      const found = await keys.candidates(id, version).catch((thrown: unknown) => {
        lacking.push({ id, version });
        throw thrown;
      });
      if (found.length === 0) lacking.push({ id, version });
      return found;
    },
  };
}

/** Returns undefined for a file that cannot be read, which is recorded when it is verified. */
function followed(path: string, before: SystemUntil | undefined): SystemUntil | undefined {
  try {
    return systemUntil(path, before);
  } catch {
    return undefined;
  }
}

/** Opens the files of a place, each once. */
function* openedFiles(visit: Visit, place: VerifiedPlace): Generator<Opened> {
  const paths = new Set<string>();
  for (const opened of 'files' in place ? named(visit, place.files, false) : ofServer(visit, place)) {
    if (opened === undefined) continue;
    if (paths.has(opened.path)) opened.close();
    else {
      paths.add(opened.path);
      yield opened;
    }
  }
}

function* ofServer(
  visit: Visit,
  { locations, more }: Extract<VerifiedPlace, { readonly locations: DataLocations }>,
): Generator<Opened | undefined> {
  for (const found of foundFiles(visit, locations)) yield visit.open(found);
  yield* named(visit, more, true);
}

function* named(visit: Visit, paths: readonly string[], mayBeOther: boolean): Generator<Opened | undefined> {
  for (const path of paths) yield visit.openNamed(path, mayBeOther);
}
