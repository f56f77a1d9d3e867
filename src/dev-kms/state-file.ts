import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { KeyError, systemErrorCode } from '../errors.ts';
import type { RandomBytes } from './ciphertext.ts';
import { corrupt, type KmsState, parseState, type StateKeeper } from './state.ts';

/**
 * State in a file, mode 0600, made from `initial()` when there is none.
 *
 * What holds between processes that share the file:
 * - Creation is exclusive. Of two that start at once one creates it and both go on with that one's keys.
 * - A reader sees a whole state, never half of one, and sees another process's change with its next call.
 * - A change starts from the newest state, and starts again when another process changed the file meanwhile. There is
 *   no lock: two processes that rename within the same microseconds may still lose the earlier change.
 * - After a power cut the file is as it was before the last change or after it.
 *
 * @throws KeyError STORE_UNAVAILABLE when the file cannot be read or made, KEY_FILE_CORRUPT when it holds no state;
 * it is then left as it is
 */
export function openStateFile(path: string, initial: () => KmsState, randomBytes: RandomBytes): StateKeeper {
  let known = read(path);
  if (known === undefined) {
    create(path, initial(), randomBytes);
    known = read(path);
  }
  let current = known ?? vanished(path);

  const refresh = (): KmsState => {
    if (version(path) !== current.version) current = read(path) ?? vanished(path);
    return current.state;
  };
  return {
    read: refresh,
    change(apply) {
      for (;;) {
        const next = structuredClone(refresh());
        const result = apply(next);
        const replaced = replace(path, next, randomBytes, current.version);
        current = read(path) ?? vanished(path);
        if (replaced) return result;
      }
    },
  };
}

interface Known {
  readonly state: KmsState;
  readonly version: string;
}

function read(path: string): Known | undefined {
  let text: string;
  let found: string;
  try {
    const descriptor = openSync(path, 'r');
    try {
      found = describe(fstatSync(descriptor, { bigint: true }));
      text = readFileSync(descriptor, 'utf8');
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw unavailable(path, 'cannot be read', error);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's message quotes the text, which may be key material.
    throw corrupt(path, 'is not JSON');
  }
  return { state: parseState(json, path), version: found };
}

function version(path: string): string {
  try {
    return describe(statSync(path, { bigint: true }));
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return vanished(path);
    throw unavailable(path, 'cannot be read', error);
  }
}

function describe(stat: {
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}): string {
  return `${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
}

function create(path: string, state: KmsState, randomBytes: RandomBytes): void {
  withTemporary(path, state, randomBytes, (temporary) => {
    try {
      linkSync(temporary, path);
    } catch (error) {
      // Another process created the file first: use its keys.
      if (systemErrorCode(error) !== 'EEXIST') throw error;
    }
    rmSync(temporary);
    return true;
  });
}

/** Replaces the file. Returns false, and changes nothing, when its content is not `expected`. */
function replace(path: string, state: KmsState, randomBytes: RandomBytes, expected: string): boolean {
  return withTemporary(path, state, randomBytes, (temporary) => {
    if (version(path) !== expected) {
      rmSync(temporary);
      return false;
    }
    renameSync(temporary, path);
    return true;
  });
}

function withTemporary(
  path: string,
  state: KmsState,
  randomBytes: RandomBytes,
  install: (temporary: string) => boolean,
): boolean {
  const text = `${JSON.stringify(state, undefined, 2)}\n`;
  // A state that a later start would refuse must not reach the disk.
  parseState(JSON.parse(text), path);
  const suffix = Buffer.from(randomBytes(8)).toString('hex');
  const temporary = join(dirname(path), `.${basename(path)}.${suffix}.tmp`);
  try {
    const descriptor = openSync(temporary, 'wx', 0o600);
    try {
      const bytes = Buffer.from(text, 'utf8');
      for (let written = 0; written < bytes.length; ) written += writeSync(descriptor, bytes, written);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    const installed = install(temporary);
    syncDirectory(dirname(path));
    return installed;
  } catch (error) {
    rmSync(temporary, { force: true });
    if (error instanceof KeyError) throw error;
    throw unavailable(path, 'cannot be written', error);
  }
}

function syncDirectory(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function vanished(path: string): never {
  throw new KeyError('STORE_UNAVAILABLE', `state file ${path}: is gone`, {
    hint: 'something removed it while it was in use; put it back, or start again to make new keys',
  });
}

function unavailable(path: string, what: string, cause: unknown): KeyError {
  return new KeyError(
    'STORE_UNAVAILABLE',
    `state file ${path}: ${what} (${systemErrorCode(cause) ?? 'unknown error'})`,
    {
      hint: 'the directory must exist and both must belong to the user who runs this',
      cause,
    },
  );
}
