/** Reads every file of a data directory, a backup or a copy: which data needs which key version. No key is needed. */
import type { Clock } from '../clock.ts';
import type { DataFiles } from '../data/data-files.ts';
import type { DataLocations } from '../data/locations.ts';
import { type Opened, type Unseen, Visit } from '../data/visit.ts';
import { foundFiles } from '../data/walk.ts';
import { systemErrorCode } from '../errors.ts';
import { BINARY_LOG_HEAD, isRelayLog } from '../format/binary-log.ts';
import { nextTurn } from '../next-turn.ts';
import { examineAria, examineBinaryLog, examineTablespace, examineTemporary, type FoundSpace } from './examine.ts';
import type { FileAudit, FileKind } from './file-audit.ts';
import type { Found } from './found.ts';
import { examineRedoLog } from './redo-log.ts';
import { CHUNK_BYTES, type ScanMeans } from './tablespace.ts';

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
  for (const place of places) {
    if ('files' in place) await auditor.files(place.files);
    else await auditor.server(place, places.length > 1);
  }
  return { files: auditor.found, unseen: auditor.unseen };
}

class Auditor {
  readonly found: FileAudit[] = [];
  readonly unseen: Unseen[] = [];
  readonly #means: AuditMeans;
  readonly #scan: ScanMeans;
  readonly #paths = new Set<string>();
  /** Bytes of whole files, and of the file that is being read. */
  #bytes = 0;
  #started = 0;
  #isCopy = true;
  /** The system tablespace up to the last of its files that was read. */
  #system: (Pick<FoundSpace, 'rest' | 'cut'> & { readonly path: string }) | undefined;

  constructor(means: AuditMeans) {
    const { clock, signal, checksums = false } = means;
    this.#means = means;
    this.#scan = {
      sleep: (ms, ended) => clock.sleep(ms, ended),
      signal,
      checksums,
      chunk: Buffer.allocUnsafeSlow(CHUNK_BYTES),
      advance: (bytes) => {
        this.#started += bytes;
        means.progress?.(this.found.length, this.#bytes + this.#started);
      },
    };
  }

  async server({ locations, isCopy, isUnprepared, more }: ServerPlace, isOneOfMany: boolean): Promise<void> {
    const visit = new Visit(this.#means.disk, locations.datadir, isOneOfMany ? '' : locations.datadir);
    this.#system = undefined;
    this.#isCopy = isCopy;
    const before = this.found.length;
    for (const found of foundFiles(visit, locations)) {
      const kind = isUnprepared && found.kind === 'redo log' ? 'redo log of a backup' : undefined;
      const opened = visit.open(found);
      // The directory lists a file again that could not be opened.
      if (opened === undefined) for (const path of 'paths' in found ? found.paths : [found.path]) this.#paths.add(path);
      await this.#audit(visit, opened, kind);
    }
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
    this.#missCut(visit);
    for (const miss of visit.unseen) this.unseen.push(miss);
  }

  async files(paths: readonly string[]): Promise<void> {
    const visit = new Visit(this.#means.disk, '');
    this.#system = undefined;
    this.#isCopy = true;
    for (const path of paths) await this.#audit(visit, visit.openNamed(path, false));
    for (const miss of visit.unseen) this.unseen.push(miss);
  }

  async #audit(visit: Visit, opened: Opened | undefined, kind?: FileKind): Promise<void> {
    this.#means.signal.throwIfAborted();
    if (opened === undefined) return;
    try {
      if (this.#paths.has(opened.path)) return;
      this.#paths.add(opened.path);
      this.#started = 0;
      const { file, data, shown } = opened;
      const answer = await this.#examine(opened);
      if (answer === undefined) {
        opened.miss('its format is not known, or it is damaged at its beginning');
        return;
      }
      const bytes = file.bytes + (data?.bytes ?? 0);
      this.found.push({ file: shown, path: opened.path, kind: kind ?? kindOf(opened), bytes, ...answer });
      this.#missStrange(visit, opened.path, answer);
      this.#bytes += bytes;
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === undefined) throw error;
      opened.miss(code);
    } finally {
      opened.close();
    }
    this.#started = 0;
    this.#means.progress?.(this.found.length, this.#bytes);
    if (this.found.length % FILES_A_TURN === 0) await nextTurn();
  }

  async #examine(opened: Opened): Promise<Found | undefined> {
    const { kind, file, data } = opened;
    switch (kind) {
      case 'redo log':
      case 'archived redo log':
        return await examineRedoLog(file, this.#scan);
      case 'binary log':
        return examineBinaryLog(file);
      case 'Aria table':
      case 'temporary Aria table': {
        const table = await examineAria(file, data, this.#scan);
        if (table?.cut !== undefined) opened.miss(table.cut);
        return table?.found;
      }
      case 'temporary tablespace':
        return await examineTemporary(file, this.#scan);
      case 'system tablespace': {
        const space = await examineTablespace(file, this.#scan, this.#system?.rest);
        if (space !== undefined) this.#system = { rest: space.rest, cut: space.cut, path: opened.path };
        return space?.found;
      }
      // A server makes it shorter before it writes page 0.
      case 'undo tablespace':
        return (await examineTablespace(file, this.#scan))?.found;
      default: {
        const space = await examineTablespace(file, this.#scan);
        if (space?.cut !== undefined) opened.miss(space.cut);
        // A server writes the pages of a new table later.
        if (space?.isUnwritten && (this.#isCopy || space.found.pages?.empty !== space.found.pages?.all))
          opened.miss(UNWRITTEN);
        return space?.found;
      }
    }
  }

  /** Only the last of its files ends where the system tablespace does. */
  #missCut(visit: Visit): void {
    if (this.#system?.cut !== undefined) visit.miss(this.#system.path, this.#system.cut);
  }

  #missStrange(visit: Visit, path: string, { pages }: Found): void {
    if (pages === undefined || pages.strangePages === 0) return;
    const first = pages.strange.slice(0, NAMED_PAGES).join(', ');
    const more = pages.strangePages > NAMED_PAGES ? ` and ${pages.strangePages - NAMED_PAGES} more` : '';
    const which = `${pages.strangePages === 1 ? 'page' : 'pages'} ${first}${more}`;
    visit.miss(path, `${which}: damaged, or being written whenever it was read`);
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
