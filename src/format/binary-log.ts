/** Binary and relay logs (MariaDB's log_event.h and rpl_constants.h): the key version that a log is encrypted with. */
import { NONCE_BYTES } from './binary-log-cipher.ts';
import {
  BINARY_LOG_MAGIC,
  EVENT_HEADER,
  EVENT_LENGTH,
  FLAGS,
  FORMAT_DESCRIPTION,
  IS_RELAY_LOG,
  START_ENCRYPTION,
  TYPE,
} from './binary-log-event.ts';

/** The key of every encrypted log. */
export const BINARY_LOG_KEY_ID = 1;
/**
 * Bytes of the file's beginning that `parseBinaryLogKeyVersion` needs: the unencrypted events at the beginning are
 * short.
 */
export const BINARY_LOG_HEAD = 4096;

const SCHEME_1 = 1;
/** Bytes for scheme, version and nonce. */
const ENCRYPTION_DATA = 17;

/** How the events of a log are encrypted. */
export interface LogEncryption {
  readonly version: number;
  readonly nonce: Buffer;
}

export function isBinaryLog(head: Buffer): boolean {
  return head.subarray(0, BINARY_LOG_MAGIC.length).equals(BINARY_LOG_MAGIC);
}

/** Tells whether a log was written by a replica, of the events that it got. */
export function isRelayLog(head: Buffer): boolean {
  const flags = BINARY_LOG_MAGIC.length + FLAGS;
  return isBinaryLog(head) && head.length > flags + 1 && (head.readUInt16LE(flags) & IS_RELAY_LOG) !== 0;
}

/** Returns undefined for a file that is not encrypted or is no binary log. */
export function parseBinaryLogKeyVersion(head: Buffer): number | undefined {
  if (!isBinaryLog(head)) return undefined;
  const description = eventAt(head, BINARY_LOG_MAGIC.length);
  if (description?.[TYPE] !== FORMAT_DESCRIPTION) return undefined;
  const start = eventAt(head, BINARY_LOG_MAGIC.length + description.length);
  return start?.[TYPE] === START_ENCRYPTION ? parseLogEncryption(start)?.version : undefined;
}

/** @param event a whole event that starts the encryption. Undefined: the scheme is not known */
export function parseLogEncryption(event: Buffer): LogEncryption | undefined {
  if (event.length < EVENT_HEADER + ENCRYPTION_DATA || event[EVENT_HEADER] !== SCHEME_1) return undefined;
  const nonce = EVENT_HEADER + 5;
  return {
    version: event.readUInt32LE(EVENT_HEADER + 1),
    nonce: Buffer.from(event.subarray(nonce, nonce + NONCE_BYTES)),
  };
}

/** Returns undefined where there is no whole event. */
function eventAt(bytes: Buffer, at: number): Buffer | undefined {
  if (at + EVENT_HEADER > bytes.length) return undefined;
  const length = bytes.readUInt32LE(at + EVENT_LENGTH);
  return length < EVENT_HEADER || at + length > bytes.length ? undefined : bytes.subarray(at, at + length);
}

/** Returns the files that an index names, as written there. */
export function parseBinaryLogIndex(text: string): readonly string[] {
  return text.split('\n').filter((line) => line !== '');
}
