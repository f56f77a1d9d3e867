/** Figures of several rounds, and how tables show them. */

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[Math.ceil(sorted.length / 2) - 1], sorted[Math.floor(sorted.length / 2)]];
  if (low === undefined || high === undefined) throw new Error('no values to take a median of');
  return (low + high) / 2;
}

/** The ratios of each round: a disturbance affects both values of a round. */
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

export function geometricMean(values: readonly number[]): number {
  return values.reduce((product, value) => product * value, 1) ** (1 / values.length);
}

/**
 * Two of the values, between which the median of all rounds that one could make lies in 95 % of all cases, whatever the
 * distribution: a round is as likely above that median as below it. Undefined where there are too few values.
 */
export function medianInterval(values: readonly number[]): readonly [number, number] | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  let interval: readonly [number, number] | undefined;
  // Twice the probability that so few rounds, or fewer, lie on one side of the median.
  let outside = 0;
  let probability = 2 * 0.5 ** sorted.length;
  for (let out = 0; out < sorted.length / 2; out += 1) {
    outside += probability;
    probability *= (sorted.length - out) / (out + 1);
    const [low, high] = [sorted[out], sorted[sorted.length - 1 - out]];
    if (outside > 0.05 || low === undefined || high === undefined) break;
    interval = [low, high];
  }
  return interval;
}

/** The median, and the 95 % confidence interval of the median in brackets where there are enough rounds for one. */
export function withInterval(values: readonly number[], digits: number): string {
  const interval = medianInterval(values)?.map((value) => value.toFixed(digits));
  return median(values).toFixed(digits) + (interval === undefined ? '' : ` (${interval.join('–')})`);
}

/** A Markdown table whose first column holds text, and whose others hold figures. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  return `${line(header)}|---|${'---:|'.repeat(header.length - 1)}\n${rows.map(line).join('')}`;
}
