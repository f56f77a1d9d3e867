import { join } from 'node:path';
import type { FileSystem } from '../disk/file-system.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { describeKey, type KeyName, keyFileName, sidecarFileName } from '../format/key-file-name.ts';
import type { Sidecar } from '../format/sidecar.ts';

/** The kind of a directory and the setting that named it, for hints. */
export interface Named {
  readonly what: 'key directory' | 'backup directory';
  /** The option, variable or other source that named the directory. */
  readonly by: string;
  /** The user whose permissions apply. */
  readonly runner: 'server' | 'agent' | 'caller';
}

const KEYS = { what: 'key directory', by: 'aws_key_management_keyfile_dir' } as const;
export const KEYS_OF_SERVER: Named = { ...KEYS, runner: 'server' };
/** Values for a mariadb-backup, and for commands that read the option files. */
export const KEYS_FOR_CALLER: Named = { ...KEYS, runner: 'caller' };

export function keysNamedBy(by: string, runner: Named['runner'] = 'caller'): Named {
  return { what: 'key directory', by, runner };
}

export function backupNamedBy(by: string): Named {
  return { what: 'backup directory', by, runner: 'caller' };
}

/** Hints for a system error in a directory, by its code. */
const HINTS: Readonly<Record<string, (named: Named) => string>> = {
  ENOENT: ({ by, runner }) =>
    runner === 'caller'
      ? `there is no such directory: correct ${by}`
      : `if ${by} names the directory of the keys, mount it, or restore it and its key files from a backup; only where there were never any keys, create it, owned by the user the ${runner} runs as, mode ${runner === 'agent' ? '0700' : '0750'}`,
  ENOTDIR: ({ by }) => `${by} must name a directory`,
  EACCES: ({ runner }) =>
    `the user ${RUNS[runner]} must be allowed to read and write the directory: check owner and modes, also of the directories above, and SELinux or AppArmor`,
  EPERM: ({ runner }) =>
    `the file system refuses it: it must support hard links, and the user ${RUNS[runner]} must own the directory`,
  EROFS: ({ runner }) =>
    runner === 'caller'
      ? 'the file system is mounted read-only: remount it, or name another directory'
      : 'the file system is mounted read-only: existing keys still load, new ones cannot be stored',
  ENOSPC: ({ runner }) => `the file system is full: free some space, then ${REPEAT[runner]}`,
  EDQUOT: ({ runner }) => `the disk quota is used up: raise it, then ${REPEAT[runner]}`,
  EMFILE: () => 'the process has no file descriptors left: raise LimitNOFILE',
  ENFILE: () => 'the machine has no file descriptors left: raise fs.file-max',
  EIO: () => 'the disk reports errors: look at the kernel log before anything else',
  ELOOP: () => 'a link is not followed in a directory that others than its owner may write, and nowhere in a circle',
};

const RUNS = { server: 'the server runs as', agent: 'the agent runs as', caller: 'who runs this' } as const;
const REPEAT = { server: 'repeat the statement', agent: 'repeat the statement', caller: 'run this again' } as const;

function hintFor(cause: unknown, named: Named): string {
  return HINTS[systemErrorCode(cause) ?? '']?.(named) ?? 'look at the system error in this message';
}

function describeCause(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** @param hint replaces the usual one */
export function storeUnavailable(
  path: string,
  action: string,
  cause: unknown,
  named: Named = KEYS_OF_SERVER,
  hint: string = hintFor(cause, named),
): KeyError {
  if (cause instanceof KeyError) return cause;
  const text = `cannot ${action} the ${named.what} ${path}: ${describeCause(cause)}`;
  return new KeyError('STORE_UNAVAILABLE', text, { hint, cause });
}

/** As `storeUnavailable`, for a place that cannot be read: names the user who tried. */
export async function notLookedAt(
  path: string,
  action: string,
  cause: unknown,
  named: Named,
  fs: FileSystem,
): Promise<KeyError> {
  const hint = await deniedHint(path, path, cause, named, fs);
  return storeUnavailable(path, action, cause, named, hint);
}

export async function unreadable(
  path: string,
  name: KeyName,
  file: string,
  cause: unknown,
  named: Named,
  fs: FileSystem,
): Promise<KeyError> {
  const text = `${describeKey(name)}: cannot read ${file} in ${path}: ${describeCause(cause)}`;
  const hint = (await deniedHint(path, join(path, file), cause, named, fs)) ?? hintFor(cause, named);
  return new KeyError('KEY_FILE_UNREADABLE', text, { hint, cause });
}

/**
 * Names the owner and the user who tried: a member of the server's group may list the directory, but not read a key
 * file.
 */
async function deniedHint(
  directory: string,
  path: string,
  cause: unknown,
  named: Named,
  fs: FileSystem,
): Promise<string | undefined> {
  if (systemErrorCode(cause) !== 'EACCES') return undefined;
  const [who, place, found] = await Promise.all([
    fs.uidAt(directory),
    fs.stat(directory).catch(() => undefined),
    fs.stat(path).catch(() => undefined),
  ]);
  const runs = named.runner === 'caller' ? `this runs as user ${who}` : `the ${named.runner} runs as user ${who}`;
  if (place === undefined || found === undefined) {
    return `${runs}, and must be allowed to read ${path}: check owner and modes, also of the directories above, and SELinux or AppArmor`;
  }
  const isDirectory = path === directory;
  const mode = (found.mode & 0o777).toString(8).padStart(4, '0');
  const whose = `${runs}, and ${path} is of user ${found.uid} with mode ${mode}`;
  if (named.runner === 'caller' && place.uid !== who && found.uid !== who) {
    return `${whose}: run it as root, or as the user of the server, whose the key files are`;
  }
  const needed = isDirectory ? 0o500 : 0o400;
  const cure = [
    ...(found.uid === who ? [] : [`chown ${who} ${path}`]),
    ...((found.mode & needed) === needed ? [] : [`chmod ${isDirectory ? '0750' : '0600'} ${path}`]),
  ];
  return `${whose}: ${cure.length === 0 ? 'look at SELinux or AppArmor' : cure.join(' && ')}`;
}

/** The error for a directory without key files: an unmounted file system looks the same. */
export function noKeys(path: string, { by }: Named): KeyError {
  return new KeyError('KEY_FILE_MISSING', `there is no key file in ${path}`, {
    hint: `is its file system mounted, and does ${by} name the directory of the server's keys?`,
  });
}

/** The error for a key file that differs from its sidecar's description. */
export function otherBytes(name: KeyName, found: string, { wrappedSha256, keyCheckValue }: Sidecar): KeyError {
  const text = `${describeKey(name)}: key file ${keyFileName(name)}: its SHA-256 is ${found}, its sidecar says ${wrappedSha256}`;
  const hint = restoreOrMove(name);
  const unless = ', unless it holds the same data key, which the next start of the server finds out';
  return new KeyError('KEY_FILE_CORRUPT', text, { hint: keyCheckValue === undefined ? hint : `${hint}${unless}` });
}

export function restoreOrMove(name: KeyName): string {
  return `restore the file from a backup; if you replaced it on purpose, move ${sidecarFileName(name)} away`;
}

export function changedMeanwhile(name: KeyName): KeyError {
  const text = `${describeKey(name)}: ${keyFileName(name)} is another than was backed up a moment ago`;
  return new KeyError('STORE_UNAVAILABLE', text, {
    hint: 'find out who else writes to the key directory, then run this again',
  });
}
