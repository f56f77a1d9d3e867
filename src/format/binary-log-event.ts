/** Events of binary and relay logs (MariaDB's log_event.h, rpl_constants.h and log_event.cc). */
import { crc32 } from 'node:zlib';

export const BINARY_LOG_MAGIC = Buffer.from([0xfe, 0x62, 0x69, 0x6e]);
export const EVENT_HEADER = 19;
/** Offsets in an event's header. */
export const [TIME, TYPE, EVENT_LENGTH, NEXT_POSITION, FLAGS] = [0, 4, 9, 13, 17];
export const FORMAT_DESCRIPTION = 15;
export const START_ENCRYPTION = 164;
const IGNORABLE = 28;
/** Flags: the log is open, or was not closed. */
const IN_USE = 0x1;
/** The log was written by a replica, of the events that it got. */
export const IS_RELAY_LOG = 0x40;
export const IS_IGNORABLE = 0x80;
/** Every flag that MariaDB or MySQL has. */
const KNOWN_FLAGS = 0xa3ff;
/** The server writes no event that is longer: max_allowed_packet ends at 1 GiB. */
export const MAX_EVENT = 2 ** 30 + 2 ** 16;
/** Events that a source makes up for its replicas have no position, and few bytes. */
const [SHORT_TYPES, MOST_WITHOUT_POSITION] = [[4, FORMAT_DESCRIPTION, START_ENCRYPTION], 2 ** 16];
const CHECKSUM = 4;
/** The last byte before a format description's checksum. */
const CRC32 = 1;
/** Bytes of a format description before the list of header lengths: binary-log version, server version, time, length. */
const DESCRIPTION_HEAD = EVENT_HEADER + 57;

const NAMES: ReadonlyMap<number, string> = new Map([
  [1, 'Start'],
  [2, 'Query'],
  [3, 'Stop'],
  [4, 'Rotate'],
  [5, 'Intvar'],
  [6, 'Load'],
  [7, 'Slave'],
  [8, 'Create_file'],
  [9, 'Append_block'],
  [10, 'Exec_load'],
  [11, 'Delete_file'],
  [12, 'New_load'],
  [13, 'RAND'],
  [14, 'User_var'],
  [FORMAT_DESCRIPTION, 'Format_description'],
  [16, 'Xid'],
  [17, 'Begin_load_query'],
  [18, 'Execute_load_query'],
  [19, 'Table_map'],
  [23, 'Write_rows_v1'],
  [24, 'Update_rows_v1'],
  [25, 'Delete_rows_v1'],
  [26, 'Incident'],
  [27, 'Heartbeat'],
  [IGNORABLE, 'Ignorable'],
  [29, 'Rows_query'],
  [30, 'Write_rows'],
  [31, 'Update_rows'],
  [32, 'Delete_rows'],
  [33, 'Gtid_log'],
  [34, 'Anonymous_gtid_log'],
  [35, 'Previous_gtids'],
  [36, 'Transaction_context'],
  [37, 'View_change'],
  [38, 'XA_prepare'],
  [39, 'Update_rows_partial'],
  [40, 'Transaction_payload'],
  [41, 'Heartbeat_v2'],
  [160, 'Annotate_rows'],
  [161, 'Binlog_checkpoint'],
  [162, 'Gtid'],
  [163, 'Gtid_list'],
  [START_ENCRYPTION, 'Start_encryption'],
  [165, 'Query_compressed'],
  [166, 'Write_rows_compressed_v1'],
  [167, 'Update_rows_compressed_v1'],
  [168, 'Delete_rows_compressed_v1'],
  [169, 'Write_rows_compressed'],
  [170, 'Update_rows_compressed'],
  [171, 'Delete_rows_compressed'],
  [172, 'Partial_row_data'],
]);

/** Returns undefined for a type that neither MariaDB nor MySQL has. */
export function eventName(type: number): string | undefined {
  return NAMES.get(type);
}

/** How a log's events can be checked, which its format description says. */
export interface EventRules {
  readonly hasChecksums: boolean;
  /** True: the events of a relay log have the positions of another server's log. */
  readonly isRelayLog: boolean;
}

/** @param event a whole format description. Undefined: it is too short */
export function parseEventRules(event: Buffer): EventRules | undefined {
  const algorithm = event.length - CHECKSUM - 1;
  if (algorithm < DESCRIPTION_HEAD) return undefined;
  return {
    hasChecksums: event[algorithm] === CRC32,
    isRelayLog: (event.readUInt16LE(FLAGS) & IS_RELAY_LOG) !== 0,
  };
}

/**
 * Tells whether an event in clear is what the server wrote: by its checksum, or in a log without checksums by type,
 * flags and position.
 * @param position the event's offset in its file
 */
export function isWholeEvent(event: Buffer, rules: EventRules, position: number): boolean {
  // A format description has a checksum in every log.
  if (event[TYPE] === FORMAT_DESCRIPTION) return isRightDescription(event);
  const end = event.length - CHECKSUM;
  if (rules.hasChecksums) return end >= EVENT_HEADER && crc32(event.subarray(0, end)) === event.readUInt32LE(end);
  return isHeader(event, event.length, rules, position);
}

/**
 * Tells whether an event's header can be right: by type, flags and position.
 * @param header the event's, in clear
 * @param position the event's offset in its file
 */
export function isHeader(header: Buffer, length: number, { isRelayLog }: EventRules, position: number): boolean {
  const next = header.readUInt32LE(NEXT_POSITION);
  const type = header[TYPE] ?? 0;
  if (!NAMES.has(type) || (header.readUInt16LE(FLAGS) & ~KNOWN_FLAGS) !== 0) return false;
  if (next === 0) return length <= MOST_WITHOUT_POSITION || !SHORT_TYPES.includes(type);
  return isRelayLog ? next >= length : next === (position + length) % 2 ** 32;
}

/** The flag that the log is open is set and cleared without a new checksum. */
function isRightDescription(event: Buffer): boolean {
  const end = event.length - CHECKSUM;
  if (end < DESCRIPTION_HEAD) return false;
  const flags = Buffer.from([(event[FLAGS] ?? 0) & ~IN_USE]);
  const before = crc32(flags, crc32(event.subarray(0, FLAGS)));
  return crc32(event.subarray(FLAGS + 1, end), before) === event.readUInt32LE(end);
}

/** Turns an event in place into one that every reader skips. Its length stays, and its checksum is made anew. */
export function makeIgnorable(event: Buffer, { hasChecksums }: EventRules): void {
  event[TYPE] = IGNORABLE;
  event.writeUInt16LE(event.readUInt16LE(FLAGS) | IS_IGNORABLE, FLAGS);
  const end = event.length - CHECKSUM;
  if (hasChecksums) event.writeUInt32LE(crc32(event.subarray(0, end)), end);
}
