/** The kind of a data file, told by its content, or by its name where its content cannot tell it. */
import { isAriaIndex } from '../format/aria-table.ts';
import { isBinaryLog } from '../format/binary-log.ts';
import { isInnodbBinaryLog, isInnodbBinaryLogName } from '../format/innodb/binary-log.ts';
import { FIELD, PAGE_TYPE } from '../format/innodb/page-fields.ts';
import { isRedoLog } from '../format/innodb/redo-log.ts';
import { type ReadAt, readTablespace } from '../format/innodb/tablespace.ts';
import type { FoundFile } from './walk.ts';

export type NamedKind = Exclude<FoundFile['kind'], 'remote tablespace' | 'backup file'>;

const HEAD_BYTES = 512;
const SYSTEM_SPACE = 0;
const TEMPORARY_SPACE = 0xfffffffe;
const REDO_LOG = /^ib_(?:logfile\d+|[0-9A-Fa-f]{16}\.log)$/;
const SYSTEM_TABLESPACE = /^ibdata\d+$/;
const UNDO_TABLESPACE = /^undo\d{3}$/;
const TEMPORARY_ARIA = /^#sql-temptable/;

/** @throws what `read` throws */
export function fileKindOf(read: ReadAt, name: string): NamedKind | 'other' {
  const head = read(0, HEAD_BYTES);
  if (isBinaryLog(head) || isInnodbBinaryLog(head) || isInnodbBinaryLogName(name)) return 'binary log';
  if (isAriaIndex(head)) return TEMPORARY_ARIA.test(name) ? 'temporary Aria table' : 'Aria table';
  if (REDO_LOG.test(name) || isRedoLog(head)) return 'redo log';
  // A second file of the system tablespace has no page 0.
  if (SYSTEM_TABLESPACE.test(name)) return 'system tablespace';
  if (UNDO_TABLESPACE.test(name)) return 'undo tablespace';
  if (name.endsWith('.ibd')) return 'tablespace';
  const space = isFirstPage(head) ? readTablespace(read) : undefined;
  switch (space?.layout.id) {
    case undefined:
      return 'other';
    case SYSTEM_SPACE:
      return 'system tablespace';
    case TEMPORARY_SPACE:
      return 'temporary tablespace';
    default:
      return 'tablespace';
  }
}

function isFirstPage(head: Buffer): boolean {
  if (head.length < HEAD_BYTES) return false;
  return head.readUInt32BE(FIELD.number) === 0 && head.readUInt16BE(FIELD.type) === PAGE_TYPE.spaceHeader;
}
