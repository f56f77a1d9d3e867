/** Numbers as people read them. */

/** Made once: each takes longer than all lines of an audit. */
const NUMBERS = new Intl.NumberFormat('en');
const UNITS = ['bytes', 'KB', 'MB', 'GB', 'TB', 'PB'];

/** A count and its noun: `1 file`, `1,200 files`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${NUMBERS.format(count)} ${count === 1 ? one : many}`;
}

/** A size in decimal units: `999 bytes`, `1.2 MB`. */
export function size(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  return `${power === 0 ? Math.round(bytes) : (bytes / 1000 ** power).toFixed(1)} ${UNITS[power]}`;
}
