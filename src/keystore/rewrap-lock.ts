import { basename, join } from 'node:path';
import type { Clock } from '../clock.ts';
import type { Disk, FileSystem, OpenFile } from '../disk/file-system.ts';
import { createNew, readWhole, temporaryPath } from '../disk/files.ts';
import { KeyError, systemErrorCode } from '../errors.ts';
import { REWRAP_LOCK_FILE } from '../format/key-file-name.ts';
import { writtenTime } from '../format/written-time.ts';
import { KEYS_FOR_CALLER, storeUnavailable } from './failures.ts';
import type { ClaimHolder, RewrapClaim } from './store.ts';

const RENEW_MS = 2_000;
const LOOK_MS = 1_000;
/** Milliseconds. After a longer pause of the file server or of this process, earlier observations do not count. */
const GAP_MS = 3_000;
/** Milliseconds after which `tell` is called about the lock's live holder. */
const TELL_AFTER_MS = 5_000;
/** Give up after this many failed reads of a lock that exists. */
const MOST_FAILED_READS = 10;
/** Milliseconds. A lock unchanged for this long belongs to a dead process, and is taken over. */
const ABANDONED_MS = 20_000;
/** Milliseconds; far less: a holder that could not renew the lock for this long replaces nothing more. */
const DOUBTFUL_MS = 10_000;
/** The size of a lock after a run of months. */
const MAX_BYTES = 4 * 2 ** 20;
/** The lock is readable for all users who may list the directory. */
const EVERYBODY_READS = { mode: 0o644 };

/**
 * One rewrap of a directory at a time, on any machine. The lock is a file that is created exclusively, by a link, and
 * to which its holder adds a line feed every two seconds. Another process watches whether it grows, by its own clock:
 * clocks of two machines are not compared, and process ids of another container mean nothing. It delays no server.
 */
export class RewrapLock implements RewrapClaim {
  readonly #directory: string;
  readonly #text: Buffer;
  readonly #file: OpenFile;
  readonly #fs: FileSystem;
  readonly #clock: Clock;
  readonly #ending = new AbortController();
  readonly #renewing: Promise<void>;
  #renewedMs: number;

  private constructor(directory: string, text: Buffer, file: OpenFile, { fileSystem, clock }: Disk) {
    this.#directory = directory;
    this.#text = text;
    this.#file = file;
    this.#fs = fileSystem;
    this.#clock = clock;
    this.#renewedMs = clock.monotonicMs();
    this.#renewing = this.#renew();
  }

  /**
   * @param tell called with the reason for a delay
   * @throws KeyError KEY_EXISTS when another rewrap is running, STORE_UNAVAILABLE
   */
  static async take(
    directory: string,
    { host, pid }: ClaimHolder,
    disk: Disk,
    tell: (line: string) => void,
  ): Promise<RewrapLock> {
    const { fileSystem, clock, random } = disk;
    const temporary = temporaryPath(directory, random);
    const since = writtenTime(clock.wallMs());
    const text = Buffer.from(`rewrap by process ${pid} on ${host} since ${since} ${basename(temporary)}\n`);
    let file: OpenFile | undefined;
    try {
      // The file stays open: others may have given its name to another file meanwhile.
      file = await createNew(fileSystem, temporary, text, EVERYBODY_READS);
      await claim(directory, temporary, text, disk, tell);
      return new RewrapLock(directory, text, file, disk);
    } catch (cause) {
      await file?.close().catch(() => undefined);
      throw storeUnavailable(directory, `make ${REWRAP_LOCK_FILE} in`, cause, KEYS_FOR_CALLER);
    } finally {
      await fileSystem.unlink(temporary).catch(() => undefined);
    }
  }

  /**
   * Makes sure that nobody takes the lock over within the next seconds. A process that is stopped for longer, right
   * after this, may still interfere with another: the two files of a version may then disagree, which a start of the
   * server repairs.
   * @throws KeyError STORE_UNAVAILABLE
   */
  async assertHeld(): Promise<void> {
    const found = await readIfThere(this.#directory, this.#fs);
    if (found === undefined || !isOf(found, this.#text)) {
      const who = found === undefined ? 'it is gone' : `it is of ${holderOf(found)}`;
      throw notHeld(this.#directory, who, 'when no other rewrap is at work, run this again: it goes on from here');
    }
    const silentMs = this.#clock.monotonicMs() - this.#renewedMs;
    if (silentMs > DOUBTFUL_MS) {
      const why = `it could not be renewed for ${Math.round(silentMs / 1000)} s`;
      throw notHeld(this.#directory, why, 'look at the disk or file server, then run this again: it goes on from here');
    }
  }

  /** Releases the lock. Never rejects: the next process takes an unreleased lock over. */
  async release(): Promise<void> {
    this.#ending.abort();
    await this.#renewing;
    try {
      await this.#file.close();
      const found = await readIfThere(this.#directory, this.#fs);
      if (found !== undefined && isOf(found, this.#text)) await this.#fs.unlink(pathIn(this.#directory));
    } catch {
      // The lock remains, as after a kill.
    }
  }

  async #renew(): Promise<void> {
    const { signal } = this.#ending;
    for (;;) {
      await this.#clock.sleep(RENEW_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      const startedMs = this.#clock.monotonicMs();
      try {
        await this.#file.writeFile(Buffer.from('\n'));
        await this.#file.sync();
        this.#renewedMs = startedMs;
      } catch {
        // `assertHeld` detects the failure.
      }
    }
  }
}

/** Gives the file the lock's name: if it is free, or if its holder is dead. */
async function claim(
  directory: string,
  temporary: string,
  text: Buffer,
  { fileSystem, clock }: Disk,
  tell: (line: string) => void,
): Promise<void> {
  const path = pathIn(directory);
  let first: Buffer | undefined;
  let firstMs = 0;
  let lookedMs = clock.monotonicMs();
  let isTold = false;
  for (let failedReads = 0; ; ) {
    if (await isLinked(fileSystem, temporary, path)) return;
    const found = await readIfThere(directory, fileSystem);
    const nowMs = clock.monotonicMs();
    if (nowMs - lookedMs > GAP_MS) first = undefined;
    lookedMs = nowMs;
    // The file server's first answer was lost, and its second said that the name exists.
    if (found !== undefined && isOf(found, text)) return;
    if (found === undefined) {
      // The lock has been released since, or is a dangling link.
      failedReads += 1;
      if (failedReads > MOST_FAILED_READS) throw noLock(path, 'it is there, and cannot be read');
    } else if (first === undefined) {
      first = found;
      firstMs = nowMs;
    } else if (!found.equals(first)) {
      throw new KeyError('KEY_EXISTS', `another rewrap of ${directory} is at work: ${holderOf(found)}`, {
        hint: `wait until it has ended; should it be killed, run this again: it takes over when it has seen no sign of life for ${ABANDONED_MS / 1000} s, or at once after: rm ${path}`,
      });
    } else if (nowMs - firstMs >= ABANDONED_MS) {
      // If two processes do this at once, the later rename wins, and `assertHeld` tells the other.
      await fileSystem.rename(temporary, path);
      return;
    } else if (!isTold && nowMs - firstMs >= TELL_AFTER_MS) {
      isTold = true;
      tell(
        `${path} is of ${holderOf(found)}, who has shown no sign of life for ${TELL_AFTER_MS / 1000} s; taking over after ${ABANDONED_MS / 1000} s (if you know that it is not at work any more: rm ${path})`,
      );
    }
    await clock.sleep(LOOK_MS);
  }
}

async function isLinked(fs: FileSystem, existing: string, path: string): Promise<boolean> {
  try {
    await fs.link(existing, path);
    return true;
  } catch (cause) {
    if (systemErrorCode(cause) === 'EEXIST') return false;
    throw cause;
  }
}

async function readIfThere(directory: string, fs: FileSystem): Promise<Buffer | undefined> {
  try {
    return await readWhole(fs, pathIn(directory), MAX_BYTES);
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT') return undefined;
    if (cause instanceof KeyError) throw noLock(pathIn(directory), cause.message);
    throw storeUnavailable(directory, `read ${REWRAP_LOCK_FILE} in`, cause, KEYS_FOR_CALLER);
  }
}

function pathIn(directory: string): string {
  return join(directory, REWRAP_LOCK_FILE);
}

function isOf(found: Buffer, text: Buffer): boolean {
  return found.subarray(0, text.length).equals(text);
}

/** The text is untrusted: any user may have written it. */
function holderOf(found: Buffer): string {
  const [, holder] = /^rewrap by (process [!-~ ]{1,400}) \S+\n/.exec(found.toString('latin1')) ?? [];
  return holder ?? 'a process that it does not name';
}

function noLock(path: string, why: string): KeyError {
  const hint = `no rewrap makes it so: find out what it is, and move ${path} away`;
  return new KeyError('STORE_UNAVAILABLE', `${path} is not the lock of a rewrap: ${why}`, { hint });
}

function notHeld(directory: string, why: string, hint: string): KeyError {
  const text = `this rewrap does not have ${REWRAP_LOCK_FILE} in ${directory} any more: ${why}`;
  return new KeyError('STORE_UNAVAILABLE', text, { hint });
}
