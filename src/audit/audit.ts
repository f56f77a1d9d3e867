/** Reads every file of a data directory, a backup or a copy: which data needs which key version. No key is needed. */
import type { Clock } from '../clock.ts';
import type { DataFiles } from '../data/data-files.ts';
import type { DataLocations } from '../data/locations.ts';
import { type Opened, type Unseen, Visit } from '../data/visit.ts';
import { foundFiles } from '../data/walk.ts';
import { systemErrorCode } from '../errors.ts';
import { BINARY_LOG_HEAD, isRelayLog } from '../format/binary-log.ts';
import { nextTurn } from '../next-turn.ts';
import type { Examined } from './examine.ts';
import type { FileAudit, FileKind } from './file-audit.ts';
import { FileReader } from './file-reader.ts';
import type { Found } from './found.ts';
import type { ThreadUse } from './threads.ts';

export interface Audit {
  readonly files: readonly FileAudit[];
  /** Files and directories that could not be read: they may need any key. */
  readonly unseen: readonly Unseen[];
}

/** Called every few megabytes and after each file, with the bytes that were read until then. */
export type Progress = (files: number, bytes: number) => void;

export interface AuditMeans {
  readonly disk: DataFiles;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** True: the checksum of every page is verified. */
  readonly checksums?: boolean;
  readonly progress?: Progress;
  /** Undefined: the calling thread reads all files. */
  readonly threads?: ThreadUse;
}

/** A place to read: the files of a server or of a copy of its data, or single files. */
export type Place = ServerPlace | { readonly files: readonly string[] };

export interface ServerPlace {
  readonly locations: DataLocations;
  /** True: no server uses the files. */
  readonly isCopy: boolean;
  /** True: the redo log belongs to a backup that was not prepared. */
  readonly isUnprepared: boolean;
  /** Files that no walk finds, such as logs without an index. Those of other kinds are passed over. */
  readonly more: readonly string[];
}

/** Files to read before yielding to the event loop. */
const FILES_A_TURN = 64;

/** @throws the reason of the signal */
export async function auditData(places: readonly Place[], means: AuditMeans): Promise<Audit> {
  const auditor = new Auditor(means);
  try {
    for (const place of places) {
      if ('files' in place) await auditor.files(place.files);
      else await auditor.server(place, places.length > 1);
    }
  } finally {
    await auditor.close();
  }
  return { files: auditor.found, unseen: auditor.unseen };
}

/** A file that is being read. */
interface Reading {
  readonly visit: Visit;
  readonly opened: Opened;
  readonly kind: FileKind | undefined;
  /** Files and directories that could not be read, between the file before and this one. */
  readonly before: readonly Unseen[];
  /** Never rejects. */
  readonly outcome: Promise<Outcome>;
  /** Bytes that were read until now. */
  readonly started: { readonly bytes: number };
}

type Outcome = { readonly examined: Examined | undefined } | { readonly error: unknown };

class Auditor {
  readonly found: FileAudit[] = [];
  readonly unseen: Unseen[] = [];
  readonly #means: AuditMeans;
  readonly #reader: FileReader;
  readonly #paths = new Set<string>();
  /** In the order of the walk, in which their answers are taken. */
  readonly #readings: Reading[] = [];
  /** Bytes of whole files, and of those that are being read. */
  #bytes = 0;
  #started = 0;
  #isCopy = true;

  constructor(means: AuditMeans) {
    const { clock, signal, checksums = false, threads } = means;
    this.#means = means;
    const scan = { sleep: (ms: number, ended?: AbortSignal) => clock.sleep(ms, ended), signal, checksums };
    this.#reader = new FileReader(scan, threads);
  }

  async server({ locations, isCopy, isUnprepared, more }: ServerPlace, isOneOfMany: boolean): Promise<void> {
    const visit = new Visit(this.#means.disk, locations.datadir, isOneOfMany ? '' : locations.datadir);
    this.#reader.forgetSystem();
    this.#isCopy = isCopy;
    const before = this.found.length;
    for (const found of foundFiles(visit, locations)) {
      const kind = isUnprepared && found.kind === 'redo log' ? 'redo log of a backup' : undefined;
      const opened = visit.open(found);
      // The directory lists a file again that could not be opened.
      if (opened === undefined) for (const path of 'paths' in found ? found.paths : [found.path]) this.#paths.add(path);
      await this.#audit(visit, opened, kind);
    }
    await this.#finishAll();
    const those = this.found.slice(before);
    if (
      those.some(({ kind }) => kind === 'system tablespace') &&
      !those.some(({ kind }) => kind.startsWith('redo log'))
    )
      visit.miss(
        locations.redoLogs,
        'there is no redo log that could be read, and the key version of one is needed to start',
      );
    for (const path of more) if (!this.#paths.has(path)) await this.#audit(visit, visit.openNamed(path, true));
    await this.#finishAll();
    this.#missCut(visit);
    this.#takeUnseen(visit);
  }

  async files(paths: readonly string[]): Promise<void> {
    const visit = new Visit(this.#means.disk, '');
    this.#reader.forgetSystem();
    this.#isCopy = true;
    for (const path of paths) await this.#audit(visit, visit.openNamed(path, false));
    await this.#finishAll();
    this.#takeUnseen(visit);
  }

  async close(): Promise<void> {
    await this.#reader.close();
    for (const { opened } of this.#readings.splice(0)) opened.close();
  }

  async #audit(visit: Visit, opened: Opened | undefined, kind?: FileKind): Promise<void> {
    this.#means.signal.throwIfAborted();
    if (opened === undefined) return;
    if (this.#paths.has(opened.path)) {
      opened.close();
      return;
    }
    this.#paths.add(opened.path);
    this.#begin(visit, opened, kind);
    while (this.#readings.length >= this.#reader.openFiles) await this.#finishFirst();
  }

  #begin(visit: Visit, opened: Opened, kind: FileKind | undefined): void {
    const started = { bytes: 0 };
    const advance = (bytes: number): void => {
      started.bytes += bytes;
      this.#started += bytes;
      this.#means.progress?.(this.found.length, this.#bytes + this.#started);
    };
    const outcome = this.#reader.read(opened, advance).then(
      (examined) => ({ examined }),
      (error: unknown) => ({ error }),
    );
    const reading: Reading = { visit, opened, kind, before: visit.unseen.splice(0), outcome, started };
    this.#readings.push(reading);
  }

  async #finishAll(): Promise<void> {
    while (this.#readings.length > 0) await this.#finishFirst();
  }

  /** Takes the answer about the file that was begun first. */
  async #finishFirst(): Promise<void> {
    const reading = this.#readings[0];
    if (reading === undefined) return;
    const outcome = await unlessAborted(reading.outcome, this.#means.signal);
    this.#readings.shift();
    const { visit, opened, before, started } = reading;
    const later = visit.unseen.splice(0);
    this.unseen.push(...before);
    try {
      if ('error' in outcome) throw outcome.error;
      this.#take(reading, outcome.examined);
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === undefined) throw error;
      opened.miss(code);
    } finally {
      opened.close();
    }
    this.#takeUnseen(visit);
    visit.unseen.push(...later);
    this.#started -= started.bytes;
    this.#means.progress?.(this.found.length, this.#bytes + this.#started);
    if (this.found.length % FILES_A_TURN === 0) await nextTurn();
  }

  #take({ visit, opened, kind }: Reading, examined: Examined | undefined): void {
    if (examined === undefined) {
      opened.miss('its format is not known, or it is damaged at its beginning');
      return;
    }
    const { found, cut, isUnwritten } = examined;
    if (cut !== undefined) opened.miss(cut);
    // A server writes the pages of a new table later.
    if (isUnwritten && (this.#isCopy || found.pages?.empty !== found.pages?.all)) opened.miss(UNWRITTEN);
    const { file, data, shown, path } = opened;
    const bytes = file.bytes + (data?.bytes ?? 0);
    this.found.push({ file: shown, path, kind: kind ?? kindOf(opened), bytes, ...found });
    this.#missStrange(visit, path, found);
    this.#bytes += bytes;
  }

  #takeUnseen(visit: Visit): void {
    this.unseen.push(...visit.unseen.splice(0));
  }

  /** Only the last of its files ends where the system tablespace does. */
  #missCut(visit: Visit): void {
    const { system } = this.#reader;
    if (system?.cut !== undefined) visit.miss(system.path, system.cut);
  }

  #missStrange(visit: Visit, path: string, { pages }: Found): void {
    if (pages === undefined || pages.strangePages === 0) return;
    const first = pages.strange.slice(0, NAMED_PAGES).join(', ');
    const more = pages.strangePages > NAMED_PAGES ? ` and ${pages.strangePages - NAMED_PAGES} more` : '';
    const which = `${pages.strangePages === 1 ? 'page' : 'pages'} ${first}${more}`;
    visit.miss(path, `${which}: damaged, or being written whenever it was read`);
  }
}

/** @throws the reason of the signal */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort);
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

const UNWRITTEN = 'its first page is empty: it is lost, or was not written when the file was copied';
/** Pages of one file to name in a message. */
const NAMED_PAGES = 5;

function kindOf({ kind, file }: Opened): FileKind {
  switch (kind) {
    case 'remote tablespace':
      return 'tablespace';
    case 'binary log':
      return isRelayLog(file.read(0, BINARY_LOG_HEAD)) ? 'relay log' : kind;
    case 'backup file':
      throw new Error('a backup file is never opened');
    default:
      return kind;
  }
}
