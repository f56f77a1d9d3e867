const FIRST_MS = Date.UTC(1970, 0, 1);
const LAST_MS = Date.UTC(9999, 11, 31);

/**
 * Formats a time as ISO 8601, UTC, with a year of four digits even for a wrong clock, as the parsers of our files
 * require.
 */
export function writtenTime(ms: number): string {
  return new Date(Math.min(Math.max(FIRST_MS, ms), LAST_MS)).toISOString();
}
