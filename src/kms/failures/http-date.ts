/**
 * The earliest plausible date: no service's clock is older than this program, and a signature's year has four digits.
 */
const EARLIEST_MS = Date.UTC(2025, 0);
const LATEST_MS = Date.UTC(2200, 0);

/**
 * Parses a date header to milliseconds since 1970; returns undefined for an invalid or implausible one. RFC 9110,
 * 5.6.7: dates are in GMT and say so.
 */
export function httpDate(text: string | undefined): number | undefined {
  if (text === undefined || !text.endsWith(' GMT')) return undefined;
  const ms = Date.parse(text);
  return ms >= EARLIEST_MS && ms < LATEST_MS ? ms : undefined;
}
