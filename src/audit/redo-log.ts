/** Reads InnoDB's redo log: the key versions that its header names, or its blocks (MariaDB 10.4 to 10.7). */
import {
  blockVersion,
  isEncryptedRedoLog,
  isRedoLog,
  OLD_REDO_LOG_HEADER,
  parseRedoBlocks,
  parseRedoLog,
  REDO_LOG_HEADER,
  REDO_LOG_KEY_ID,
  type RedoBlocks,
} from '../format/innodb/redo-log.ts';
import { needsRecovery } from '../format/innodb/redo-ring.ts';
import { isKeyVersion } from '../ids.ts';
import { nextTurn } from '../next-turn.ts';
import { CLEAR_LOG, EMPTY_LOG, encryptedLog, type Found, isZero, type Readable } from './found.ts';
import type { ScanMeans } from './tablespace.ts';

/** Bytes of a log without records, as the preparation of a backup leaves it. */
const EMPTY_REDO_LOG = 12_304;
/** Bytes to read at once. */
const CHUNK_BYTES = 262_144;

type RedoMeans = Pick<ScanMeans, 'signal' | 'advance'>;

/** @returns undefined: its format is not known, or it is damaged at its beginning */
export async function examineRedoLog(file: Readable, means: RedoMeans): Promise<Found | undefined> {
  const found = await versionsIn(file, means);
  return found !== undefined && needsRecovery(file.read, file.bytes) === true
    ? { ...found, needsRecovery: true }
    : found;
}

async function versionsIn(file: Readable, means: RedoMeans): Promise<Found | undefined> {
  const head = file.read(0, EMPTY_REDO_LOG);
  // The next file of an archive is made before it is needed.
  if (isZero(head)) return EMPTY_LOG;
  const log = parseRedoLog(head);
  if (log === 'unknown') return undefined;
  const blocks = parseRedoBlocks(head);
  const named = new Set<number>(log?.versions.filter(isKeyVersion) ?? []);
  if (blocks !== undefined) for (const version of await versionsOf(file, blocks, means)) named.add(version);
  if (log !== undefined) return encryptedLog(log.id, named);
  // A file that is not the first has no checkpoint, and the first one names the version.
  if (isEncryptedRedoLog(head)) return encryptedLog(REDO_LOG_KEY_ID, named);
  if (!isRedoLog(head)) return undefined;
  return file.bytes <= EMPTY_REDO_LOG ? EMPTY_LOG : CLEAR_LOG;
}

async function versionsOf({ readInto }: Readable, blocks: RedoBlocks, means: RedoMeans): Promise<ReadonlySet<number>> {
  const versions = new Set<number>();
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let got = CHUNK_BYTES;
  for (let at = OLD_REDO_LOG_HEADER; got === CHUNK_BYTES; at += got) {
    got = readInto(chunk, at);
    for (let block = 0; block + REDO_LOG_HEADER <= got; block += REDO_LOG_HEADER) {
      const version = blockVersion(blocks, chunk.subarray(block, block + REDO_LOG_HEADER));
      if (version !== undefined && isKeyVersion(version)) versions.add(version);
    }
    means.advance(got);
    await nextTurn();
    means.signal.throwIfAborted();
  }
  return versions;
}
