/** Tables for people: columns two spaces apart, without lines, so that `awk` and `cut` can read them too. */
import { printable } from '../printable.ts';

export interface TableColumn {
  readonly heading: string;
  /** Numbers stand at the right. */
  readonly isNumber?: boolean;
  /**
   * Shortens the column where a terminal is too narrow: at its end, or in its middle for ARNs and paths. Without it the
   * column keeps its width.
   */
  readonly shorten?: 'end' | 'middle';
}

/** Terminals are at least that wide. */
const LEAST_COLUMNS = 80;
const GAP = '  ';
const MARK = '…';
const ASCII = /^[\x20-\x7e]*$/;
/** A shortened column keeps so many characters. */
const LEAST_CELL = 8;

type WidthOf = (text: string) => number;

/**
 * Lays out a table. Control characters become spaces.
 * @param width of the terminal, as {@link CliIo.columns}; undefined when output goes elsewhere: then nothing is shortened
 * @param indent the number of spaces before each line
 * @returns its lines, the headings first; none without rows
 */
export async function tableLines(
  columns: readonly TableColumn[],
  rows: readonly (readonly string[])[],
  { width, indent = 0 }: { readonly width?: number | undefined; readonly indent?: number } = {},
): Promise<readonly string[]> {
  if (rows.length === 0) return [];
  const all = [columns.map(({ heading }) => heading), ...rows].map((row) => row.map(printable));
  const isAscii = all.every((row) => row.every((cell) => ASCII.test(cell)));
  // Only names and contexts in other scripts need to know which characters are wide, or have no width.
  const widthOf: WidthOf = isAscii ? (text) => text.length : (await import('string-width')).default;
  const natural = columns.map((_, at) => all.reduce((most, row) => Math.max(most, widthOf(row[at] ?? '')), 0));
  const room = Math.max(LEAST_COLUMNS, width ?? 0) - indent - GAP.length * (columns.length - 1);
  const widths = width === undefined ? natural : fitting(natural, columns, room);
  return all.map((row) => {
    const cells = columns.map((column, at) => cell(row[at] ?? '', widths[at] ?? 0, column, widthOf));
    return `${' '.repeat(indent)}${cells.join(GAP)}`.trimEnd();
  });
}

/** Takes the missing room from the widest columns that may be shortened. */
function fitting(natural: readonly number[], columns: readonly TableColumn[], room: number): readonly number[] {
  const widths = [...natural];
  const least = columns.map(({ heading }) => Math.max(LEAST_CELL, heading.length));
  for (let over = sum(widths) - room; over > 0; over--) {
    const widest = columns.reduce<number | undefined>((found, { shorten }, at) => {
      const candidate = shorten !== undefined && (widths[at] ?? 0) > (least[at] ?? 0);
      return candidate && (widths[at] ?? 0) > (widths[found ?? -1] ?? 0) ? at : found;
    }, undefined);
    if (widest === undefined) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return widths;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

function cell(text: string, width: number, { isNumber, shorten }: TableColumn, widthOf: WidthOf): string {
  const shown = widthOf(text) > width ? shortened(text, width, shorten ?? 'end', widthOf) : text;
  const blank = ' '.repeat(Math.max(0, width - widthOf(shown)));
  return isNumber ? `${blank}${shown}` : `${shown}${blank}`;
}

function shortened(text: string, width: number, where: 'end' | 'middle', widthOf: WidthOf): string {
  if (ASCII.test(text)) {
    const tailLength = where === 'middle' ? Math.floor((width - MARK.length) / 2) : 0;
    return `${text.slice(0, width - MARK.length - tailLength)}${MARK}${text.slice(text.length - tailLength)}`;
  }
  const characters = [...text];
  const head: string[] = [];
  const tail: string[] = [];
  let left = width - MARK.length;
  while (characters.length > 0) {
    const isTail = where === 'middle' && tail.length < head.length;
    const next = (isTail ? characters.pop() : characters.shift()) ?? '';
    left -= widthOf(next);
    if (left < 0) break;
    if (isTail) tail.unshift(next);
    else head.push(next);
  }
  return `${head.join('')}${MARK}${tail.join('')}`;
}
