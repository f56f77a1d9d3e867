/** Binary and relay logs (MariaDB's log_event.h and rpl_constants.h): the key version that a log is encrypted with. */

/** The key of every encrypted log. */
export const BINARY_LOG_KEY_ID = 1;
/**
 * Bytes of the file's beginning that `parseBinaryLogKeyVersion` needs: the unencrypted events at the beginning are
 * short.
 */
export const BINARY_LOG_HEAD = 4096;

const MAGIC = Buffer.from([0xfe, 0x62, 0x69, 0x6e]);
const EVENT_HEADER = 19;
const [TYPE, LENGTH, FLAGS] = [4, 9, 17];
/** LOG_EVENT_RELAY_LOG_F */
const RELAY_LOG = 0x40;
const FORMAT_DESCRIPTION_EVENT = 15;
const START_ENCRYPTION_EVENT = 164;
const SCHEME_1 = 1;
/** Bytes for scheme, version and nonce. */
const ENCRYPTION_DATA = 17;

export function isBinaryLog(head: Buffer): boolean {
  return head.subarray(0, MAGIC.length).equals(MAGIC);
}

/** Tells whether a log was written by a replica, of the events that it got. */
export function isRelayLog(head: Buffer): boolean {
  const flags = MAGIC.length + FLAGS;
  return isBinaryLog(head) && head.length > flags + 1 && (head.readUInt16LE(flags) & RELAY_LOG) !== 0;
}

/** Returns undefined for a file that is not encrypted or is no binary log. */
export function parseBinaryLogKeyVersion(head: Buffer): number | undefined {
  if (!isBinaryLog(head)) return undefined;
  const second = endOfEvent(head, MAGIC.length, FORMAT_DESCRIPTION_EVENT, EVENT_HEADER);
  if (second === undefined) return undefined;
  const end = endOfEvent(head, second, START_ENCRYPTION_EVENT, EVENT_HEADER + ENCRYPTION_DATA);
  const data = second + EVENT_HEADER;
  if (end === undefined || head[data] !== SCHEME_1) return undefined;
  return head.readUInt32LE(data + 1);
}

/** Returns the end of an event; undefined: there is no complete event of that type with at least `least` bytes. */
function endOfEvent(head: Buffer, at: number, type: number, least: number): number | undefined {
  if (at + least > head.length || head[at + TYPE] !== type) return undefined;
  const length = head.readUInt32LE(at + LENGTH);
  return length < least ? undefined : at + length;
}

/** Returns the files that an index names, as written there. */
export function parseBinaryLogIndex(text: string): readonly string[] {
  return text.split('\n').filter((line) => line !== '');
}
