/**
 * What every section of the benchmark is: a file `bench/NAME.ts` that exports one `Section`, a line for it in
 * `bench/sections.ts`, and a place for its text in docs/performance.md.
 *
 * A section checks that all candidates give the same results before it times any of them; measures them in alternating
 * rounds, so that whatever else the machine does meets all of them; and says how its ratios spread (`bench/statistics.ts`).
 * It throws when a check fails. Whatever it starts has ended when it returns or throws.
 */
export interface BenchOptions {
  /** All sections together then take less than two minutes, and less than twenty without. */
  readonly quick: boolean;
  /** How often each candidate is measured, where somebody asked for a number. */
  readonly rounds: number | undefined;
  /** Empty, the section's own, removed after it. */
  readonly directory: string;
  /** Tells whoever waits what happens. */
  readonly progress: (text: string) => void;
}

export interface Section {
  /** As in `--only NAME`. */
  readonly name: string;
  readonly title: string;
  /** Returns Markdown: tables of what was measured, and remarks on it that hold figures of this run. */
  run(options: BenchOptions): Promise<string>;
}
