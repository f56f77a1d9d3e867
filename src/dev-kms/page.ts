import { KmsFault } from './kms-fault.ts';

export interface Page<T> {
  readonly entries: readonly T[];
  readonly NextMarker?: string;
  readonly Truncated: boolean;
}

/**
 * One page of entries sorted by name, starting after the entry that `marker` names. Entries that are added or deleted
 * between two pages therefore neither repeat nor hide others.
 * @throws KmsFault InvalidMarkerException
 */
export function page<T>(
  all: readonly T[],
  nameOf: (entry: T) => string,
  limit: number,
  marker: string | undefined,
): Page<T> {
  const after = marker === undefined ? undefined : decodeMarker(marker);
  const rest = [...all]
    .sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
    .filter((entry) => after === undefined || nameOf(entry) > after);
  const entries = rest.slice(0, limit);
  const last = entries.at(-1);
  if (rest.length <= limit || last === undefined) return { entries, Truncated: false };
  return { entries, NextMarker: Buffer.from(`after:${nameOf(last)}`).toString('base64'), Truncated: true };
}

function decodeMarker(marker: string): string {
  const text = Buffer.from(marker, 'base64').toString();
  // AWS documents the error name; its text is ours.
  if (!text.startsWith('after:')) throw new KmsFault('InvalidMarkerException', 'Invalid marker');
  return text.slice('after:'.length);
}
