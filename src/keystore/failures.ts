import { KeyError, systemErrorCode } from '../errors.ts';
import { describeKey, type KeyName, keyFileName, sidecarFileName } from '../format/key-file-name.ts';
import type { Sidecar } from '../format/sidecar.ts';

/** What to do about a system error in a key directory, by its code. */
const HINTS: Readonly<Record<string, string>> = {
  ENOENT:
    'create the directory that aws_key_management_keyfile_dir names, owned by the user the server runs as, mode 0750',
  ENOTDIR: 'aws_key_management_keyfile_dir must name a directory',
  EACCES:
    'the user the server runs as must be allowed to read and write the directory: check owner and modes, also of the directories above, and SELinux or AppArmor',
  EPERM:
    'the file system refuses it: it must support hard links, and the user the server runs as must own the directory',
  EROFS: 'the file system is mounted read-only: existing keys still load, new ones cannot be stored',
  ENOSPC: 'the file system is full: free some space, then repeat the statement',
  EDQUOT: 'the disk quota is used up: raise it, then repeat the statement',
  EMFILE: 'the process has no file descriptors left: raise LimitNOFILE',
  ENFILE: 'the machine has no file descriptors left: raise fs.file-max',
  EIO: 'the disk reports errors: look at the kernel log before anything else',
  ELOOP: 'the path has too many symbolic links',
};

function hintFor(cause: unknown): string {
  return HINTS[systemErrorCode(cause) ?? ''] ?? 'look at the system error in this message';
}

function describeCause(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

export function storeUnavailable(path: string, action: string, cause: unknown): KeyError {
  if (cause instanceof KeyError) return cause;
  return new KeyError('STORE_UNAVAILABLE', `cannot ${action} the key directory ${path}: ${describeCause(cause)}`, {
    hint: hintFor(cause),
    cause,
  });
}

export function unreadable(path: string, name: KeyName, file: string, cause: unknown): KeyError {
  const hint =
    systemErrorCode(cause) === 'EACCES'
      ? `the user the server runs as must be allowed to read it: chown and chmod 0600 ${file}`
      : hintFor(cause);
  return new KeyError(
    'KEY_FILE_UNREADABLE',
    `${describeKey(name)}: cannot read ${file} in ${path}: ${describeCause(cause)}`,
    {
      hint,
      cause,
    },
  );
}

/** Of a key file that its sidecar does not describe. */
export function otherBytes(name: KeyName, found: string, { wrappedSha256, keyCheckValue }: Sidecar): KeyError {
  const text = `${describeKey(name)}: key file ${keyFileName(name)}: its SHA-256 is ${found}, its sidecar says ${wrappedSha256}`;
  const hint = restoreOrMove(name);
  const perhaps = 'the next start of the server tells whether it is the same data key, and corrects the sidecar then';
  return new KeyError('KEY_FILE_CORRUPT', text, {
    hint: keyCheckValue === undefined ? hint : `${perhaps}; if not, ${hint}`,
  });
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
