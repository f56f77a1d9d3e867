import { join } from 'node:path';
import type { Disk } from '../disk/file-system.ts';
import { putInPlace, readWhole, sha256, syncDirectory, temporaryPath, writeNew } from '../disk/files.ts';
import { KeyError, systemErrorCode, toKeyError } from '../errors.ts';
import { algorithmOf } from '../format/encryption-context.ts';
import { compareKeyNames, describeKey, type KeyName, keyFileName, sidecarFileName } from '../format/key-file-name.ts';
import { formatManifest, MANIFEST_FILE, type Manifest, type ManifestKey } from '../format/manifest.ts';
import { MAX_SIDECAR_BYTES } from '../format/sidecar.ts';
import { MAX_WRAPPED_KEY_BYTES } from '../format/wrapped-key.ts';
import { writtenTime } from '../format/written-time.ts';
import { KeyDirectory } from './directory.ts';
import { type Named, noKeys, notLookedAt } from './failures.ts';
import type { KeyStore, Listing } from './store.ts';
import { checkBackup, readManifest } from './verify-backup.ts';

export interface BackupRequest {
  readonly from: KeyStore;
  /** An existing directory: empty, from an earlier run, or with a mariadb-backup of the same server. */
  readonly to: string;
  readonly toNamed: Named;
  /** Name and release of this program. */
  readonly tool: string;
  /**
   * Proves that none of the server's data files is encrypted, and returns their number: only then may the backup be
   * empty.
   */
  readonly needsNone?: (() => Promise<number | undefined>) | undefined;
}

export interface BackupResult {
  readonly manifest: Manifest;
  /** The number of new files. */
  readonly added: number;
  /** Keys that could not be backed up, with reasons. All others were. */
  readonly problems: readonly KeyError[];
}

interface Copy {
  readonly name: KeyName;
  readonly file: string;
  readonly bytes: Buffer;
}

/**
 * Copies every key file and sidecar, and writes the manifest last, when all that it names is durable. Files are added
 * and never replaced. A server may rotate meanwhile: the directory is listed until it has nothing new. A `rewrap` may
 * run as well: each version is copied as it was before, or after.
 * @throws KeyError KEY_EXISTS when the target holds keys of another server, MANIFEST_CORRUPT, STORE_UNAVAILABLE and the
 * errors of `checkBackup` for an earlier run's files; nothing was added then
 */
export async function backUpKeys(request: BackupRequest, disk: Disk): Promise<BackupResult> {
  const { to } = request;
  const before = await earlierRun(request, disk);
  const added = new Set<string>();
  for (let isFirst = true; ; isFirst = false) {
    const { copies: all, problems, unencryptedFiles } = await readKeys(request);
    // Versions that `rewrap` replaces meanwhile were copied as a consistent pair, which opens.
    const copies = all.filter(({ file }) => !added.has(file));
    const isNew = await Promise.all(copies.map((copy) => isMissing(copy, request, disk)));
    if (isFirst) await refuseStrangers(copies, before, request, disk);
    const fresh = copies.filter((_, index) => isNew[index]);
    if (fresh.length === 0) {
      const manifest = await writeManifest(request, before, unencryptedFiles, disk);
      return { manifest, added: added.size, problems };
    }
    for (const copy of fresh) {
      await storing(to, copy.file, () => publish(copy, to, disk));
      added.add(copy.file);
    }
    await storing(to, 'the copies', () => syncDirectory(disk.fileSystem, to));
  }
}

async function earlierRun({ to, toNamed }: BackupRequest, disk: Disk): Promise<Manifest | undefined> {
  if ((await readManifest(to, disk.fileSystem, toNamed)) === undefined) return undefined;
  const { manifest, damage } = await checkBackup(to, disk, toNamed);
  const [first] = damage;
  if (first !== undefined) throw first;
  return manifest;
}

async function readKeys({ from: store, needsNone }: BackupRequest) {
  const listing = await store.list();
  const isEmpty = listing.stored.length + listing.lost.length === 0;
  const unencryptedFiles = isEmpty ? await needsNone?.() : undefined;
  if (isEmpty && unencryptedFiles === undefined) throw noKeys(store.place, store.named);
  const copies: Copy[] = [];
  const problems = lostKeys(listing);
  for (const name of listing.stored) {
    try {
      const { wrapped, sidecarProblem, sidecarText } = await store.read(name);
      if (sidecarProblem?.code === 'KEY_FILE_UNREADABLE') throw sidecarProblem;
      copies.push({ name, file: keyFileName(name), bytes: wrapped });
      if (sidecarText !== undefined) copies.push({ name, file: sidecarFileName(name), bytes: sidecarText });
      else if (sidecarProblem !== undefined) throw sidecarProblem;
    } catch (thrown) {
      problems.push(toKeyError(thrown));
    }
  }
  return { copies, problems, unencryptedFiles };
}

function lostKeys({ lost }: Listing): KeyError[] {
  return lost.map((name) => {
    const text = `${describeKey(name)}: its sidecar is there, its key file ${keyFileName(name)} is gone`;
    return new KeyError('KEY_FILE_MISSING', text, { hint: 'look for it in earlier backups, and put it back' });
  });
}

/** @throws KeyError KEY_EXISTS */
async function isMissing(
  { name, file, bytes }: Copy,
  { to, toNamed }: BackupRequest,
  { fileSystem }: Disk,
): Promise<boolean> {
  const there = await readIfThere(to, file, toNamed, fileSystem);
  if (there === undefined) return true;
  if (there.equals(bytes)) return false;
  throw new KeyError('KEY_EXISTS', `${describeKey(name)}: ${to} has another ${file}`, {
    hint: 'that directory holds keys of another server, damaged ones, or those from before a rewrap: back up into one of its own',
  });
}

/** @throws KeyError KEY_EXISTS */
async function refuseStrangers(
  copies: readonly Copy[],
  before: Manifest | undefined,
  { to, toNamed }: BackupRequest,
  { fileSystem, clock, random }: Disk,
): Promise<void> {
  const { stored, lost } = await new KeyDirectory(to, fileSystem, clock, random, toNamed).list();
  const known = new Set([...copies, ...(before?.keys ?? [])].map(({ name }) => keyFileName(name)));
  const stranger = [...stored, ...lost].find((name) => !known.has(keyFileName(name)));
  if (stranger === undefined) return;
  const text = `${to} has key files of ${describeKey(stranger)}, which the key directory has not`;
  throw new KeyError('KEY_EXISTS', text, {
    hint: 'that directory holds keys of another server, or the server lost some: back up into one of its own',
  });
}

/** Names the copy by a hard link, which fails where a rename would replace. */
async function publish({ file, bytes }: Copy, to: string, { fileSystem, random }: Disk): Promise<void> {
  const temporary = temporaryPath(to, random);
  try {
    await writeNew(fileSystem, temporary, bytes);
    await fileSystem.link(temporary, join(to, file));
  } finally {
    await fileSystem.unlink(temporary).catch(() => undefined);
  }
}

/**
 * Writes the manifest of the files that are in the directory now, as read back. An equal manifest stays as it is.
 * Without keys, and without the proof that none are needed, none is written.
 */
async function writeManifest(
  { to, toNamed, tool }: BackupRequest,
  before: Manifest | undefined,
  unencryptedFiles: number | undefined,
  disk: Disk,
): Promise<Manifest> {
  const { fileSystem, clock, random } = disk;
  const store = new KeyDirectory(to, fileSystem, clock, random, toNamed);
  const keys: ManifestKey[] = [];
  for (const name of [...(await store.list()).stored].sort(compareKeyNames)) {
    const { wrapped, sidecar, sidecarText: text } = await store.read(name);
    keys.push({
      name,
      sha256: sha256(wrapped),
      sidecarSha256: text && sha256(text),
      masterKeyArn: sidecar?.masterKeyArn,
      encryptionAlgorithm: sidecar && algorithmOf(sidecar.encryptionContext),
    });
  }
  const proof = keys.length === 0 ? (unencryptedFiles ?? before?.unencryptedFiles) : undefined;
  const isSame = JSON.stringify(before?.keys) === JSON.stringify(keys) && before?.unencryptedFiles === proof;
  if (before !== undefined && isSame) return before;
  const updated = writtenTime(clock.wallMs());
  const manifest = { created: before?.created ?? updated, updated, tool, keys, unencryptedFiles: proof };
  if (keys.length === 0 && proof === undefined) return manifest;
  const temporary = temporaryPath(to, random);
  await storing(to, MANIFEST_FILE, async () => {
    await putInPlace(fileSystem, join(to, MANIFEST_FILE), temporary, Buffer.from(formatManifest(manifest)));
    await syncDirectory(fileSystem, to);
  });
  return manifest;
}

async function readIfThere(
  directory: string,
  file: string,
  named: Named,
  fs: Disk['fileSystem'],
): Promise<Buffer | undefined> {
  try {
    return await readWhole(fs, join(directory, file), Math.max(MAX_SIDECAR_BYTES, MAX_WRAPPED_KEY_BYTES));
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT') return undefined;
    throw await notLookedAt(directory, `read ${file} in`, cause, named, fs);
  }
}

async function storing(to: string, what: string, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (cause) {
    const code = systemErrorCode(cause) ?? 'unknown error';
    throw new KeyError('STORE_UNAVAILABLE', `cannot store ${what} in ${to}: ${code}`, {
      hint: 'look at the system error; the manifest is as it was, and the backup can be run again',
      cause,
    });
  }
}
