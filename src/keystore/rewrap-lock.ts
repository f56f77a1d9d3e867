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
/** A file server, or the one who looks, was away meanwhile: what was seen before says nothing. */
const GAP_MS = 3_000;
/** The holder of a lock that lives is told from it sooner. */
const TELL_AFTER_MS = 5_000;
/** There, and not to be read. */
const MOST_RIDDLES = 10;
/** Whose lock has not changed for so long was ended, and loses it. */
const ABANDONED_MS = 20_000;
/** Sooner, by far: a holder who could not renew it for so long replaces nothing more. */
const DOUBTFUL_MS = 10_000;
/** Of a run of months. */
const MAX_BYTES = 4 * 2 ** 20;
/** Whoever may list the directory may know. */
const EVERYBODY_READS = { mode: 0o644 };

/**
 * One rewrap of a directory at a time, whatever machine it runs on: a file that is made exclusively, by a link, and that
 * its holder adds a line feed to every two seconds. Who finds it looks whether it grows, by a clock of its own: clocks of
 * two machines are not compared, and process ids of another container say nothing. It holds up no server.
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
   * @param tell hears why this takes a while
   * @throws KeyError KEY_EXISTS when another rewrap is at work, STORE_UNAVAILABLE
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
      // By its name, which others may have given to another file meanwhile, it is not opened again.
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
   * Nobody takes it away in the next seconds. What a process does that is stopped for longer, right after this, is not
   * kept from meeting what another does: the two files of a version may then not fit, and a start of the server mends that.
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

  /** Never rejects: one that is left behind is taken over by the next. */
  async release(): Promise<void> {
    this.#ending.abort();
    await this.#renewing;
    try {
      await this.#file.close();
      const found = await readIfThere(this.#directory, this.#fs);
      if (found !== undefined && isOf(found, this.#text)) await this.#fs.unlink(pathIn(this.#directory));
    } catch {
      // As after a kill.
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
        // `assertHeld` notices.
      }
    }
  }
}

/** Gives the file its name: where nobody has it, or where somebody had it and does not live. */
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
  for (let riddles = 0; ; ) {
    if (await isLinked(fileSystem, temporary, path)) return;
    const found = await readIfThere(directory, fileSystem);
    const nowMs = clock.monotonicMs();
    if (nowMs - lookedMs > GAP_MS) first = undefined;
    lookedMs = nowMs;
    // The first answer of a file server was lost, and its second was that the name exists.
    if (found !== undefined && isOf(found, text)) return;
    if (found === undefined) {
      // Released since, or a link to nothing.
      riddles += 1;
      if (riddles > MOST_RIDDLES) throw noLock(path, 'it is there, and cannot be read');
    } else if (first === undefined) {
      first = found;
      firstMs = nowMs;
    } else if (!found.equals(first)) {
      throw new KeyError('KEY_EXISTS', `another rewrap of ${directory} is at work: ${holderOf(found)}`, {
        hint: `wait until it has ended; should it be killed, run this again: it takes over when it has seen no sign of life for ${ABANDONED_MS / 1000} s, or at once after: rm ${path}`,
      });
    } else if (nowMs - firstMs >= ABANDONED_MS) {
      // Of two that come to this together, the later rename has it, and `assertHeld` tells the other.
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

/** Anybody may have written it. */
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
