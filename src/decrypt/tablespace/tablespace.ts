/** A tablespace in clear, and the proof that a tablespace can be read. */
import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Random } from '../../clock.ts';
import { createNewFile, unwritable } from '../../disk/new-file.ts';
import { KeyError, systemErrorCode, toKeyError } from '../../errors.ts';
import type { DataKey } from '../../format/encryption-scheme.ts';
import type { SpaceLayout } from '../../format/innodb/layout.ts';
import { isKeyId, isKeyVersion } from '../../ids.ts';
import { stopFor } from '../../stop-for.ts';
import type { DataKeys } from '../data-keys.ts';
import { type OpenedSpace, openSpace, type SystemUntil } from './open-space.ts';
import { type KeysOfVersion, type OpenSpace, OutputError, Pages } from './pages.ts';
import { addResult, decryptedPages, emptyResult, type PagesResult } from './result.ts';
import type { PageThreads } from './threads.ts';

export interface TablespaceParts {
  readonly keys: DataKeys;
  readonly threads: PageThreads;
  readonly random: Random;
  readonly signal: AbortSignal;
  /** Called after each range with its bytes. */
  readonly progress: (bytes: number) => void;
  /** Called when the last range is given to a thread: the next tablespace keeps the other threads busy. */
  readonly allTaken?: () => void;
}

export interface TablespaceResult extends PagesResult {
  readonly path: string;
  readonly bytes: number;
  readonly spaceId: number;
  /** Pages that page 0 counts and the file does not have; of a part of the system tablespace, those in further files too. */
  readonly missing: number;
  /** Bytes after the last whole page, which are none of a tablespace. */
  readonly rest: number;
  /** Undefined: page 0 names none. */
  readonly keyId: number | undefined;
  /** Why versions of the key could not be had, in the order of the versions. */
  readonly keyProblems: readonly KeyError[];
}

/** Returns what is known of the system tablespace after its files so far, for the next of them. */
export function systemUntil(path: string, before?: SystemUntil): SystemUntil {
  const { space, pages, close } = openSpace(path, before);
  close();
  return { ...space, firstPage: space.firstPage + pages };
}

/** Pages are read in ranges of about so many bytes, each by one thread. */
const RANGE_BYTES = 8_388_608;
/** Free space that is left to others. */
const RESERVE_BYTES = 1_048_576;

/** So many pages that a key does not decrypt, and none that it does, show that it is another server's. */
const HOPELESS_PAGES = 1_024;

let files = 0;

/**
 * Decrypts every page that has a key, and verifies all. Nothing is written.
 * @throws KeyError DATA_UNREADABLE, and the signal's reason
 */
export async function verifyTablespace(
  path: string,
  parts: TablespaceParts,
  before?: SystemUntil,
): Promise<TablespaceResult> {
  const opened = openSpace(path, before);
  try {
    return await readPages(path, opened, opened.space, parts);
  } finally {
    opened.close();
  }
}

/**
 * Writes a tablespace in clear: its pages are decrypted, page 0 says nothing of encryption, and every checksum is right. A
 * page in use that cannot be decrypted stays as it is, and a free one becomes one that was never written. If there are
 * encrypted pages and none of them can be decrypted, no file is made.
 * @param output a path that does not exist
 * @throws KeyError DATA_UNREADABLE, STORE_UNAVAILABLE, and the signal's reason; no file is then left behind
 */
export async function decryptTablespace(
  path: string,
  output: string,
  parts: TablespaceParts,
): Promise<TablespaceResult> {
  const opened = openSpace(path);
  try {
    const file = createNewFile(output, parts.random);
    try {
      checkRoom(output, opened.usedBytes);
      const { pages, space } = opened;
      file.extend(pages * space.layout.fileBytes);
      const check = (result: TablespaceResult, leastFailed: number): void => {
        if (decryptedPages(result) === 0 && encryptedPages(result) >= leastFailed)
          throw nothingOpens(result, parts.keys);
      };
      const result = await readPages(path, opened, { ...space, output: file.descriptor }, parts, (soFar) => {
        if (soFar.wrongKey >= HOPELESS_PAGES) check(soFar, HOPELESS_PAGES);
      });
      check(result, 1);
      parts.signal.throwIfAborted();
      await file.complete();
      return result;
    } catch (thrown) {
      throw thrown instanceof OutputError ? unwritable(output, thrown.code, thrown) : thrown;
    } finally {
      file.close();
    }
  } finally {
    opened.close();
  }
}

async function readPages(
  path: string,
  { pages, missing, rest }: OpenedSpace,
  space: OpenSpace,
  { keys, threads, signal, progress, allTaken }: TablespaceParts,
  afterRange: (soFar: TablespaceResult) => void = () => undefined,
): Promise<TablespaceResult> {
  const file = files++;
  const { layout, crypt } = space;
  const problems = new Map<number, KeyError>();
  const known = new Map<number, Promise<readonly DataKey[]>>();
  const keysOf: KeysOfVersion = (version) => {
    const found = known.get(version) ?? keysOfSpace(keys, crypt?.keyId, version, problems);
    known.set(version, found);
    return found;
  };
  const sum = emptyResult();
  const soFar = (): TablespaceResult => ({
    ...sum,
    path,
    spaceId: layout.id,
    bytes: pages * layout.fileBytes + rest,
    missing,
    rest,
    keyId: crypt?.keyId,
    keyProblems: inOrder(problems),
  });
  const step = Math.max(1, Math.floor(RANGE_BYTES / layout.fileBytes));
  const ranges = Array.from({ length: Math.ceil(pages / step) }, (_, index) => index * step).values();
  const work = async (): Promise<void> => {
    for (const from of ranges) {
      signal.throwIfAborted();
      const to = Math.min(from + step, pages);
      // Reading in the calling thread, one tablespace must be left before the next.
      if (to === pages && threads.count > 1) allTaken?.();
      const { firstPage } = space;
      addResult(sum, await threads.read(file, space, keysOf, firstPage + from, firstPage + to));
      progress((to - from) * layout.fileBytes);
      if (to === pages) allTaken?.();
      afterRange(soFar());
    }
  };
  const settled = await Promise.allSettled(Array.from({ length: threads.count }, work));
  for (const each of settled) if (each.status === 'rejected') throw unreadable(path, each.reason);
  return soFar();
}

export interface PageResult {
  /** The page in clear, or as it is in the file if it has a failure. The caller wipes it. */
  readonly page: Buffer;
  readonly layout: SpaceLayout;
  readonly keyId: number | undefined;
  readonly isFree: boolean;
  readonly result: PagesResult;
  readonly keyProblems: readonly KeyError[];
}

/**
 * Reads one page of a tablespace.
 * @throws KeyError DATA_UNREADABLE, BAD_OPTION for a number that the tablespace does not have
 */
export async function decryptPage(path: string, number: number, keys: DataKeys): Promise<PageResult> {
  const { space, pages, close } = openSpace(path);
  const problems = new Map<number, KeyError>();
  const reader = new Pages(space, (version) => keysOfSpace(keys, space.crypt?.keyId, version, problems), stopFor);
  try {
    if (number >= pages)
      throw new KeyError('BAD_OPTION', `${path}: expected a page from 0 to ${pages - 1}, got ${number}`);
    const { page, result, isFree } = await reader.one(number);
    const { layout, crypt } = space;
    return { page, layout, keyId: crypt?.keyId, isFree, result, keyProblems: inOrder(problems) };
  } finally {
    reader.wipe();
    close();
  }
}

function inOrder(problems: ReadonlyMap<number, KeyError>): readonly KeyError[] {
  return [...problems].sort(([a], [b]) => a - b).map(([, problem]) => problem);
}

async function keysOfSpace(
  keys: DataKeys,
  id: number | undefined,
  version: number,
  problems: Map<number, KeyError>,
): Promise<readonly DataKey[]> {
  if (id === undefined || !isKeyId(id) || !isKeyVersion(version)) return [];
  try {
    const found = await keys.candidates(id, version);
    if (found.length === 0)
      problems.set(
        version,
        new KeyError('KEY_UNKNOWN', `key ${id} version ${version} is not in ${keys.place}`, {
          hint: 'restore its file from a backup of the keys, or name the place that has it: --keyfile-dir or --key-file',
        }),
      );
    return found;
  } catch (thrown) {
    problems.set(version, toKeyError(thrown));
    return [];
  }
}

/** An error of the system, of reading the file. */
function unreadable(path: string, thrown: unknown): unknown {
  const code = systemErrorCode(thrown);
  if (thrown instanceof KeyError || thrown instanceof OutputError || code === undefined) return thrown;
  return new KeyError('DATA_UNREADABLE', `${path}: ${code}`, { cause: thrown });
}

/** Returns the encrypted pages in use that were not decrypted. */
function encryptedPages({ versions }: PagesResult): number {
  let pages = 0;
  for (const { failed } of versions.values()) pages += failed;
  return pages;
}

function nothingOpens(result: TablespaceResult, keys: DataKeys): KeyError {
  const { path, keyId, versions, failures } = result;
  const [problem] = result.keyProblems;
  const first = failures.find(({ version }) => version !== undefined && versions.has(version));
  const text = `${path}: none of its ${encryptedPages(result)} encrypted pages opens`;
  if (problem !== undefined)
    return new KeyError(problem.code, `${text}: ${problem.message}`, { hint: problem.hint, cause: problem });
  if (first?.reason === 'undecided')
    return new KeyError('DATA_UNREADABLE', `${text}: nothing shows whether they are AES_CBC or AES_CTR`, {
      hint: 'their compression is not read here: add --algorithm with file_key_management_encryption_algorithm',
    });
  return new KeyError(
    'DATA_UNREADABLE',
    `${text} with key ${keyId ?? 'of no id'} of ${keys.place}: ${first?.reason === 'contents' ? 'wrong key' : (first?.reason ?? 'damage')}`,
    { hint: 'these are the keys of another server, or the file is damaged' },
  );
}

/** @throws KeyError STORE_UNAVAILABLE */
function checkRoom(output: string, bytes: number): void {
  const { bavail, bsize } = roomAt(output);
  const free = bavail * bsize;
  if (free >= bytes + RESERVE_BYTES) return;
  throw new KeyError('STORE_UNAVAILABLE', `${output}: it takes ${bytes} bytes, and ${free} are free`, {
    hint: 'free some space, or write to another file system',
  });
}

function roomAt(output: string): { readonly bavail: number; readonly bsize: number } {
  try {
    return statfsSync(dirname(output));
  } catch (cause) {
    throw unwritable(output, systemErrorCode(cause) ?? 'its file system is not known', cause);
  }
}
