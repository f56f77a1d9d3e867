/**
 * A section of the benchmark: a file `bench/NAME.ts` that exports one `Section`, a line for it in `bench/sections.ts`,
 * and a place for its text in docs/performance.md.
 *
 * A section checks that all candidates give the same results before it times any of them; measures them in alternating
 * rounds, so that disturbances affect all of them; and tells the spread of its ratios (`bench/statistics.ts`). It
 * throws when a check fails. Everything that it starts has ended when it returns or throws.
 */
export interface BenchOptions {
  /** True: all sections together take less than two minutes. False: less than twenty. */
  readonly quick: boolean;
  /** The requested number of measurements of each candidate. */
  readonly rounds: number | undefined;
  /** An empty directory of the section's own, removed after it. */
  readonly directory: string;
  /** Reports progress. */
  readonly progress: (text: string) => void;
}

export interface Section {
  /** As in `--only NAME`. */
  readonly name: string;
  readonly title: string;
  /** Returns Markdown: tables of what was measured, and remarks on it that hold figures of this run. */
  run(options: BenchOptions): Promise<string>;
}
