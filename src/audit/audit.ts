/** Reads every file of a data directory, a backup or a copy: which data needs which key version. No key is needed. */
import type { Clock } from '../clock.ts';
import type { DataFiles } from '../data/data-files.ts';
import type { DataLocations } from '../data/locations.ts';
import { type Opened, type Unseen, Visit } from '../data/visit.ts';
import { type FoundFile, foundFiles } from '../data/walk.ts';
import { systemErrorCode } from '../errors.ts';
import { nextTurn } from '../next-turn.ts';
import { examineAria, examineLog, examineTablespace, type Found } from './examine.ts';
import type { FileAudit, FileKind } from './file-audit.ts';

export interface Audit {
  readonly files: readonly FileAudit[];
  /** Files and directories that could not be read: they may need any key. */
  readonly unseen: readonly Unseen[];
}

/** Called after each file, with the bytes of all files until then. */
export type Progress = (files: number, bytes: number) => void;

/** Files to read before yielding to the event loop. */
const FILES_A_TURN = 64;

/** @throws the reason of `signal` */
export async function auditData(
  disk: DataFiles,
  locations: DataLocations,
  clock: Clock,
  signal: AbortSignal,
  progress: Progress = () => undefined,
): Promise<Audit> {
  const visit = new Visit(disk, locations.datadir);
  const files: FileAudit[] = [];
  let bytes = 0;
  for (const found of foundFiles(visit, locations)) {
    signal.throwIfAborted();
    const audit = await auditFile(visit, found, clock, signal);
    if (audit === undefined) continue;
    files.push(audit);
    bytes += audit.bytes;
    progress(files.length, bytes);
    if (files.length % FILES_A_TURN === 0) await nextTurn();
  }
  return { files, unseen: visit.unseen };
}

async function auditFile(
  visit: Visit,
  found: FoundFile,
  clock: Clock,
  signal: AbortSignal,
): Promise<FileAudit | undefined> {
  const opened = visit.open(found);
  if (opened === undefined) return undefined;
  try {
    const { file, data, shown } = opened;
    const answer = await examine(opened, clock, signal);
    if (answer === undefined) {
      opened.miss('its format is not known');
      return undefined;
    }
    return { file: shown, kind: kindOf(found.kind), bytes: file.bytes + (data?.bytes ?? 0), ...answer };
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    opened.miss(code);
    return undefined;
  } finally {
    opened.close();
  }
}

async function examine({ kind, file, data }: Opened, clock: Clock, signal: AbortSignal): Promise<Found | undefined> {
  switch (kind) {
    case 'redo log':
    case 'binary log':
      return examineLog(file, kind);
    case 'Aria table':
      return await examineAria(file, data, signal);
    default:
      return await examineTablespace(file, (ms, ended) => clock.sleep(ms, ended), signal);
  }
}

function kindOf(kind: FoundFile['kind']): FileKind {
  return kind === 'remote tablespace' ? 'tablespace' : kind;
}
