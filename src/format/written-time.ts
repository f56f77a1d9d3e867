const FIRST_MS = Date.UTC(1970, 0, 1);
const LAST_MS = Date.UTC(9999, 11, 31);

/** ISO 8601, UTC, with a year of four digits whatever a clock or a file system says: the readers of our files want that. */
export function writtenTime(ms: number): string {
  return new Date(Math.min(Math.max(FIRST_MS, ms), LAST_MS)).toISOString();
}
