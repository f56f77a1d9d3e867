import { join } from 'node:path';
import type { Disk, FileSystem } from '../disk/file-system.ts';
import { readWhole, sha256 } from '../disk/files.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { describeKey, type KeyName, keyFileName, sidecarFileName } from '../format/key-file-name.ts';
import { MANIFEST_FILE, type Manifest, parseManifest } from '../format/manifest.ts';
import { MAX_SIDECAR_BYTES } from '../format/sidecar.ts';
import { MAX_WRAPPED_KEY_BYTES } from '../format/wrapped-key.ts';
import { keyVersion } from '../ids.ts';
import { KeyDirectory } from './directory.ts';
import { backupNamedBy, type Named, notLookedAt, unreadable } from './failures.ts';

export interface CheckedBackup {
  readonly manifest: Manifest;
  /** Errors of files that the manifest names and that are missing or changed. */
  readonly damage: readonly KeyError[];
  /** Key files that the manifest does not name. */
  readonly unlisted: readonly KeyError[];
  /** Versions between 1 and the latest that are not in the backup. */
  readonly gaps: readonly KeyError[];
}

/** The size of a manifest of a million keys. */
const MAX_MANIFEST_BYTES = 512 * 2 ** 20;
const NAMED_GAPS = 20;

/** Returns undefined only when there is no manifest. @throws KeyError MANIFEST_CORRUPT, STORE_UNAVAILABLE */
export async function readManifest(directory: string, fs: FileSystem, named: Named): Promise<Manifest | undefined> {
  try {
    const bytes = await readWhole(fs, join(directory, MANIFEST_FILE), MAX_MANIFEST_BYTES);
    return parseManifest(bytes.toString('utf8'));
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT') return undefined;
    throw await notLookedAt(directory, `read ${MANIFEST_FILE} in`, cause, named, fs);
  }
}

/**
 * Checks that every key file exists and is as it was when it was backed up.
 * @throws KeyError MANIFEST_CORRUPT, STORE_UNAVAILABLE
 */
export async function checkBackup(
  directory: string,
  disk: Disk,
  named: Named = backupNamedBy('the directory on the command line'),
): Promise<CheckedBackup> {
  const { fileSystem, clock, random } = disk;
  const { stored, lost } = await new KeyDirectory(directory, fileSystem, clock, random, named).list();
  const manifest = await readManifest(directory, fileSystem, named);
  if (manifest === undefined) {
    throw new KeyError('MANIFEST_CORRUPT', `there is no manifest ${MANIFEST_FILE} in ${directory}`, {
      hint: 'backup-keys writes it: name the directory that was given to --to',
    });
  }
  const damage: KeyError[] = [];
  const known = new Set<string>();
  for (const { name, sha256: expected, sidecarSha256 } of manifest.keys) {
    const files = [
      [keyFileName(name), expected, MAX_WRAPPED_KEY_BYTES],
      [sidecarFileName(name), sidecarSha256, MAX_SIDECAR_BYTES],
    ] as const;
    for (const [file, hash, maxBytes] of files) {
      if (hash === undefined) continue;
      known.add(file);
      const problem = await problemOf({ directory, named, name, file, hash, maxBytes }, fileSystem);
      if (problem !== undefined) damage.push(problem);
    }
  }
  const files = (await fileSystem.readdir(directory)).sort();
  const unlisted = [...stored, ...lost]
    .flatMap((name) => [keyFileName(name), sidecarFileName(name)].map((file) => ({ name, file })))
    .filter(({ file }) => files.includes(file) && !known.has(file))
    .map(({ name, file }) => {
      const text = `${describeKey(name)}: ${file} is not in the manifest`;
      return new KeyError('KEY_UNKNOWN', text, {
        hint: 'run backup-keys again if it is of this server; move it away if not',
      });
    });
  return { manifest, damage, unlisted, gaps: gapsIn(manifest) };
}

interface ListedFile {
  readonly directory: string;
  readonly named: Named;
  readonly name: KeyName;
  readonly file: string;
  readonly hash: string;
  readonly maxBytes: number;
}

async function problemOf(
  { directory, named, name, file, hash, maxBytes }: ListedFile,
  fs: FileSystem,
): Promise<KeyError | undefined> {
  const hint = 'take it from another copy of the backup, or from the server';
  try {
    const found = sha256(await readWhole(fs, join(directory, file), maxBytes));
    if (found === hash) return undefined;
    const text = `${describeKey(name)}: ${file}: its SHA-256 is ${found}, the manifest says ${hash}`;
    return new KeyError('KEY_FILE_CORRUPT', text, { hint });
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT') {
      return new KeyError('KEY_FILE_MISSING', `${describeKey(name)}: ${file} is gone`, { hint });
    }
    if (cause instanceof KeyError) {
      return new KeyError('KEY_FILE_CORRUPT', `${describeKey(name)}: ${file}: ${cause.message}`, { hint });
    }
    return await unreadable(directory, name, file, cause, named, fs);
  }
}

function gapsIn({ keys }: Manifest): readonly KeyError[] {
  const gaps: KeyError[] = [];
  let before: KeyName | undefined;
  for (const { name } of keys) {
    const next = before?.id === name.id ? before.version + 1 : 1;
    for (let version = next; version < name.version && gaps.length < NAMED_GAPS; version += 1) {
      const text = `${describeKey({ id: name.id, version: keyVersion(version) })} is missing: it was not there to be backed up`;
      gaps.push(
        new KeyError('KEY_FILE_MISSING', text, {
          hint: 'data under it cannot be read: look for it in an earlier backup',
        }),
      );
    }
    before = name;
  }
  return gaps;
}
