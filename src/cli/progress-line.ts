import type { Clock } from '../clock.ts';
import type { CliIo } from './process-io.ts';

/** Milliseconds between two pictures of the progress. */
const REDRAW_MS = 100;
/** Milliseconds before the time that is left can be estimated. */
const ESTIMATE_MS = 2_000;
const BAR = 20;
const [SECOND_MS, MINUTE_S, HOUR_S] = [1_000, 60, 3_600];

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

export interface ProgressBar {
  /**
   * Shows how far the work is.
   * @param done steps of `total`, which may change while the work is being found
   * @param detail what is being done, such as a table's name
   */
  at(done: number, total: number, detail?: string): void;
  /** Removes the bar, before other output and at the end. */
  clear(): void;
}

/** A bar with an estimate of the time that is left: `rewrap [#####...............] 25%, about 3 min left: key 7`. */
export function progressBar(io: Pick<CliIo, 'redraw'>, clock: Clock, title: string): ProgressBar {
  const startedMs = clock.monotonicMs();
  const show = progressLine(io, clock);
  return {
    at: (done, total, detail) => {
      show(() => {
        const share = total > 0 ? Math.min(1, Math.max(0, done / total)) : 0;
        const marks = Math.floor(share * BAR);
        const bar = `${'#'.repeat(marks)}${'.'.repeat(BAR - marks)}`;
        const left = estimate(share, clock.monotonicMs() - startedMs);
        return `${title} [${bar}] ${Math.floor(share * 100)}%${left}${detail === undefined ? '' : `: ${detail}`}`;
      });
    },
    clear: () => io.redraw?.(''),
  };
}

function estimate(share: number, elapsedMs: number): string {
  if (share === 0 || elapsedMs < ESTIMATE_MS) return '';
  return `, about ${duration(Math.ceil(((elapsedMs / share) * (1 - share)) / SECOND_MS))} left`;
}

/** A rough duration: `40 s`, `3 min`, `2 h 5 min`. */
export function duration(seconds: number): string {
  if (seconds < MINUTE_S) return `${seconds} s`;
  const minutes = Math.ceil(seconds / MINUTE_S);
  if (seconds < HOUR_S) return `${minutes} min`;
  return `${Math.floor(minutes / MINUTE_S)} h ${minutes % MINUTE_S} min`;
}
