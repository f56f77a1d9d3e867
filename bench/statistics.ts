/** Figures of several rounds, and how tables show them. */

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[Math.ceil(sorted.length / 2) - 1], sorted[Math.floor(sorted.length / 2)]];
  if (low === undefined || high === undefined) throw new Error('no values to take a median of');
  return (low + high) / 2;
}

/** Each round's own ratio: what disturbed a round disturbed both. */
export function ratios(values: readonly number[], references: readonly number[]): number[] {
  if (values.length !== references.length) throw new Error('a ratio needs as many values as references');
  return values.map((value, round) => value / (references[round] ?? Number.NaN));
}

/** The median, and the smallest and largest in brackets. */
export function withSpread(values: readonly number[], digits: number): string {
  const text = (value: number): string => value.toFixed(digits);
  const middle = text(median(values));
  return values.length === 1 ? middle : `${middle} (${text(Math.min(...values))}–${text(Math.max(...values))})`;
}

/** A Markdown table whose first column holds text, and whose others hold figures. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  return `${line(header)}|---|${'---:|'.repeat(header.length - 1)}\n${rows.map(line).join('')}`;
}
