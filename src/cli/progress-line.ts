import type { Clock } from '../clock.ts';
import type { CliIo } from './process-io.ts';

/** Milliseconds between two pictures of the progress. */
const REDRAW_MS = 100;

/** Returns a function that shows how far a long work is, from time to time and on a terminal alone. */
export function progressLine({ redraw }: Pick<CliIo, 'redraw'>, clock: Clock): (line: () => string) => void {
  let shownMs = clock.monotonicMs();
  return (line) => {
    const nowMs = clock.monotonicMs();
    if (redraw === undefined || nowMs - shownMs < REDRAW_MS) return;
    shownMs = nowMs;
    redraw(line());
  };
}
