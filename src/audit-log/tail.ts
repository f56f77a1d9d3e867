/** The end of an audit log, which the next entry goes on from. */
import { type HashedEntry, parseEntry } from './entry.ts';

export interface Tail {
  /** Undefined: there is no entry. */
  readonly last: HashedEntry | undefined;
  /** The bytes after the last entry, which an interrupted write left; empty: none. */
  readonly torn: Buffer;
  /** False: a line feed is missing at the end. */
  readonly endsLine: boolean;
  /** False: the last entry was changed after it had been written. */
  readonly isGenuine: boolean;
}

const LINE_FEED = 0x0a;

/** @param bytes the whole file, or its end */
export function tailOf(bytes: Buffer): Tail {
  const endsLine = bytes.length === 0 || bytes.at(-1) === LINE_FEED;
  for (let end = bytes.length; end > 0; ) {
    const isWhole = bytes[end - 1] === LINE_FEED;
    const start = bytes.lastIndexOf(LINE_FEED, isWhole ? end - 2 : end - 1) + 1;
    const parsed = parseEntry(bytes.toString('utf8', start, isWhole ? end - 1 : end));
    if (parsed !== undefined && (isWhole || parsed.isGenuine))
      return { last: parsed.entry, torn: bytes.subarray(end), endsLine, isGenuine: parsed.isGenuine };
    end = start;
  }
  return { last: undefined, torn: bytes, endsLine, isGenuine: true };
}
