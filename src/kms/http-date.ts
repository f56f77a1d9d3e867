/** No service's clock is before this program was written, and a signature has room for years of four digits. */
const EARLIEST_MS = Date.UTC(2025, 0);
const LATEST_MS = Date.UTC(2200, 0);

/**
 * A date in a header of an answer, in milliseconds since 1970; undefined for what is none, or cannot be true. RFC 9110,
 * 5.6.7: a date is in GMT and says so.
 */
export function httpDate(text: string | undefined): number | undefined {
  if (text === undefined || !text.endsWith(' GMT')) return undefined;
  const ms = Date.parse(text);
  return ms >= EARLIEST_MS && ms < LATEST_MS ? ms : undefined;
}
