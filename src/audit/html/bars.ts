/** A chart of horizontal bars. Bars scale with the page and texts do not, so it is read at any width. */
import { type Markup, markup } from './markup.ts';

/** Classes of the style sheet. */
export type Fill = 'encrypted' | 'clear' | 'free' | 'other' | 'start' | 'logs';

export interface Bar {
  readonly label: string;
  readonly value: string;
  readonly parts: readonly (readonly [fill: Fill, amount: number])[];
}

/** Pixels. */
const [ROW, TEXT_AT, BAR_AT, BAR] = [42, 13, 19, 14];
const LONGEST_LABEL = 34;
/** Percent: anything that is there is seen. */
const LEAST_WIDTH = 0.5;

/** @param name unique in the document */
export function barChart(name: string, title: string, description: string, bars: readonly Bar[]): Markup {
  const most = Math.max(...bars.map(({ parts }) => parts.reduce((sum, [, amount]) => sum + amount, 0)), 1);
  return markup`<svg class="bars" role="img" width="100%" height="${bars.length * ROW}" aria-labelledby="${name}-title ${name}-desc">
<title id="${name}-title">${title}</title>
<desc id="${name}-desc">${description}</desc>
${bars.map((bar, row) => oneBar(bar, row * ROW, most))}
</svg>`;
}

function oneBar({ label, value, parts }: Bar, top: number, most: number): Markup {
  let from = 0;
  const rectangles = parts.flatMap(([fill, amount]) => {
    if (amount === 0) return [];
    const width = Math.min(100 - from, Math.max(LEAST_WIDTH, (amount / most) * 100));
    const [x, w] = [from.toFixed(2), width.toFixed(2)];
    from += width;
    return [markup`<rect class="${fill}" x="${x}%" y="${top + BAR_AT}" width="${w}%" height="${BAR}"/>`];
  });
  return markup`<text y="${top + TEXT_AT}">${shortened(label)}</text><text class="value" x="100%" y="${top + TEXT_AT}">${value}</text>
<rect class="track" y="${top + BAR_AT}" width="100%" height="${BAR}"/>${rectangles}`;
}

function shortened(label: string): string {
  const characters = [...label];
  if (characters.length <= LONGEST_LABEL) return label;
  const half = LONGEST_LABEL / 2;
  return `${characters.slice(0, half).join('')}…${characters.slice(-half).join('')}`;
}

export function legend(entries: readonly (readonly [fill: Fill, text: string])[]): Markup {
  return markup`<ul class="legend">${entries.map(
    ([fill, text]) =>
      markup`<li><svg width="14" height="14" aria-hidden="true"><rect class="${fill}" width="14" height="14"/></svg>${text}</li>`,
  )}</ul>`;
}
